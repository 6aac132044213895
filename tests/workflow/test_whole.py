"""The whole workflow on a tiny model, as a user runs it; then what a change would make it do again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from gluscope.core import digest
from gluscope.core.precision import UNIT_ROUNDOFF
from gluscope.dataset.reader import TokenDataset
from gluscope.page.refresh import start_page
from gluscope.recompute.types import Recomputed
from gluscope.stages.table import STAGES
from gluscope.stages.write import TABLE, raised
from helpers import twelve_edits
from helpers.checkout import PATIENCE, REPO, copy_checkout, user_environment
from helpers.damage import flip
from helpers.exports import exported
from helpers.golden_results import collect, differences
from helpers.room import TEXTS, Room
from helpers.tiny_models import make
from helpers.twelve_edits import EDITS, by_content, to_decide


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "user").mkdir()
    room = Room(folder / "user", copy_checkout(folder / "gluscope"))
    make(folder=room.folder / "my-model")
    room.write_texts()
    room.write_config()
    done = room.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return room


@contextmanager
def edited(path: Path, text: str) -> Iterator[None]:
    """`path` with `text` behind it; as before afterwards, its date too."""
    before, stat = path.read_bytes(), path.stat()
    path.write_bytes(before + text.encode())
    yield
    path.write_bytes(before)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


RECOMPUTED = {"recompute": 2, "page": 2, "site_index": 1, "all": 1}
SCANNED = {"scan": 1, "merge": 1, **RECOMPUTED}


def test_results_are_there(room: Room) -> None:
    found = {str(path.relative_to(room.folder)) for path in room.folder.rglob("*")}
    for name in ("site/index.html", "site/L0/N3.html", "site/L1/N7.html", "model.json", "summary.zarr/zarr.json"):
        assert f"results/mine/{name}" in found
    assert {"logs/scan/mine/0000.log", "benchmarks/scan/mine/0000.tsv"} <= found
    assert not [name for name in found if ".writing-" in name or name.endswith(".part")]
    tops = {name.split("/")[0] for name in found}
    assert tops == {"results", "logs", "benchmarks", ".snakemake", "my-model", "texts.jsonl", "mine.yaml"}


def test_stages_of_these_versions_give_the_golden_results(room: Room) -> None:
    """If this fails, stages got other results: see `make stages`, then tests/golden/make_results.py."""
    assert not differences(collect(room.folder))


def test_the_run_has_as_many_files_as_it_said_before_its_scan(room: Room) -> None:
    files = sum(path.is_file() for path in (room.folder / "results/mine").rglob("*"))
    said = (room.folder / "logs/plan_shards/mine.log").read_text(encoding="utf-8")
    assert f" in {files:,} files under results/ " in said


def test_the_page_says_the_command_that_makes_it(room: Room) -> None:
    page = (room.folder / "results/mine/site/L0/N3.html").read_text(encoding="utf-8")
    assert "<code>snakemake --cores 2 results/mine/site/L0/N3.html --configfile mine.yaml</code>" in page


def test_a_second_run_does_nothing(room: Room) -> None:
    done = room.snakemake()
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_change_makes_again_what_depends_on_it(room: Room) -> None:
    more = json.dumps({"text": "one more text"}) + "\n"
    files = {
        "scan script": (room.repo / "scripts/scan.py", "\nX = 1\n", {}),
        "texts": (room.folder / "texts.jsonl", more, {"tokenise": 1, "plan_shards": 1, **SCANNED}),
        "model": (room.folder / "my-model/model.safetensors", "x", {"fetch_model": 1, "weights": 1, **SCANNED}),
    }  # fmt: skip
    found, expected = {}, {}
    for name, (path, text, plan) in files.items():
        with edited(path, text):
            found[name], expected[name] = room.plan(), plan
    for name, path in (("older texts", room.folder / "texts.jsonl"), ("older model", files["model"][0])):
        with edited(path, ""):
            os.utime(path, (1e9, 1e9))
            found[name], expected[name] = room.plan(), files[name.removeprefix("older ")][2]
    configs = {
        "revision": ({"revision": "step1000"}, {"fetch_model": 1, "weights": 1, **SCANNED}),
        "device": ({"device": "cpu", "batch_tokens": 99}, {}),
        "convention": ({"refactor_glu": True}, {"merge": 1, **RECOMPUTED}),
        "one neuron more": (
            {"neurons": ["L0/N3", "L1/N7", "L1/N9"]}, {"recompute": 1, "page": 1, "site_index": 1, "all": 1},
        ),
        "one neuron less": ({"neurons": ["L0/N3"]}, {"site_index": 1, "all": 1}),
    }  # fmt: skip
    for name, (keys, plan) in configs.items():
        room.write_config(**keys)
        found[name], expected[name] = room.plan(), plan
    room.write_config()
    assert found == expected


def test_twelve_edits_and_what_they_make_run_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of docs/decisions/stages.md. Edits alone make nothing run, so they are planned together."""
    for name in ("_tree", "code_of", "imports_of"):
        monkeypatch.setattr(digest, name, by_content(getattr(digest, name)))
    assert to_decide(room.repo) == []
    decide, rows = {}, []
    for name, edit in EDITS.items():
        with twelve_edits.edited(room.repo, edit):
            decide[name] = to_decide(room.repo)
    with ExitStack() as together:
        for edit in EDITS.values():
            together.enter_context(twelve_edits.edited(room.repo, edit))
        assert room.plan() == {}
    for name, edit in EDITS.items():
        plan: dict[str, int] = {}
        if edit.config:
            room.write_config(**edit.config)
            plan = room.plan()
            room.write_config()
        if edit.new_version:
            table = room.repo / TABLE
            before = table.read_bytes()
            raised(room.repo, edit.new_version, "another result")
            plan = room.plan()
            table.write_bytes(before)
        rows.append(twelve_edits.row(name, decide[name], edit, plan))
    shown = [line for line in twelve_edits.DOC.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:13]
    assert rows == shown, f"{twelve_edits.DOC} is to say:\n" + "\n".join(row for row in rows if row not in shown)


def test_why_says_key_file_and_version(room: Room) -> None:
    def why(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(room.repo / "scripts/why.py"), *arguments, "--configfile", "mine.yaml"],
            cwd=room.folder, env=user_environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    assert why().startswith("Nothing would run")
    table = room.repo / TABLE
    before = table.read_bytes()
    raised(room.repo, "weights", "classes from .4 on")
    new = STAGES["weights"].version + 1
    room.write_config(k=3)
    said = why()
    room.write_config()
    table.write_bytes(before)
    assert said.splitlines()[1:] == [
        "scan: `k` of run mine is 3, was 16.",
        f"weights: version {new} of the stage weights (classes from .4 on) is here, "
        f"and it was made by version {new - 1}.",
        "What they write is read by: merge, recompute (2 jobs), page (2 jobs), site_index.",
    ]
    assert why("results/mime/site/L0/N3.html").startswith("error: results/mime: expected the name of a run")


def test_many_neurons_are_made_in_batches_and_pages_that_are_there_are_kept(room: Room) -> None:
    one = room.folder / "results/mine/site/L1/N7.html"
    before = one.stat().st_mtime_ns
    room.write_config(neurons=["L1/N*"])
    try:
        assert room.plan() == {"recompute_batch": 1, "pages": 1, "site_index": 1, "all": 1}
        done = room.snakemake()
        assert done.returncode == 0, done.stdout + done.stderr
        pages = {path.stem for path in (room.folder / "results/mine/site/L1").glob("*.html")}
        assert pages == {f"N{neuron}" for neuron in range(48)}
        assert one.stat().st_mtime_ns == before
        assert room.plan() == {}
        (one.parent / "N9.html").unlink()
        assert room.plan() == {"pages": 1, "site_index": 1, "all": 1}
        assert room.snakemake().returncode == 0
        assert (one.parent / "N9.html").exists()
        assert one.stat().st_mtime_ns == before
        # A page that a batch made is nothing to do for the rule of a single page, and the other way round.
        assert room.plan("results/mine/site/L1/N5.html", "results/mine/site/L1/N7.html") == {}
    finally:
        room.write_config()
    assert room.plan("results/mine/site/L0/N3.html") == {}


def test_from_scratch_without_a_cache(room: Room) -> None:
    """A run that keeps no cache shows the same numbers, computed with the model."""
    config = (room.folder / "mine.yaml").read_text(encoding="utf-8")
    assert "  mine:\n" in config
    bare = config.replace(
        "runs:\n", "runs:\n  bare:\n    {model: my-model/, dataset: mine-texts, neurons: [], cache: false}\n"
    )
    (room.folder / "mine.yaml").write_text(bare, encoding="utf-8")
    done = room.snakemake("results/bare/site/L1/N7.html")
    room.write_config()
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (room.folder / "results/bare/cache").exists()
    assert (room.folder / "results/bare/site/L1/N7.html").exists()


def test_from_a_replay(room: Room) -> None:
    """Pages from a second pass show the numbers of those from the cache, to float16's rounding."""
    config = (room.folder / "mine.yaml").read_text(encoding="utf-8")
    keys = "{model: my-model/, dataset: mine-texts, neurons: [L1/N7], cache: false, pages_from: replay, shards: 2}"
    (room.folder / "mine.yaml").write_text(
        config.replace("runs:\n", f"runs:\n  again:\n    {keys}\n"), encoding="utf-8"
    )
    compared, table = "results/again/compare/mine.json", "results/again/export/neurons.parquet"
    done = room.snakemake("results/again/site/L1/N7.html", compared, table)
    room.write_config()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (room.folder / "results/again/site/L1/N7.html").exists()
    found = json.loads((room.folder / compared).read_text(encoding="utf-8"))
    assert found["entries"] > 0
    assert found["changed_share"] == found["sample"]["sign_changed_share"] == 0
    assert pyarrow.parquet.read_metadata(room.folder / table).num_rows == 2 * 48
    cached, replayed = (Recomputed.read(room.folder / f"results/{run}/neurons/L1/N7.npz") for run in ("mine", "again"))
    assert (cached.source, replayed.source) == ("cache", "replay")
    np.testing.assert_array_equal(cached.rows, replayed.rows)
    u = 2 * UNIT_ROUNDOFF["float16"] + 1e-5
    assert np.abs(cached.gate - replayed.gate).max() <= u * cached.gate_bound
    assert np.abs(cached.in_ - replayed.in_).max() <= u * cached.in_bound


def test_exports_and_a_run_from_them(room: Room) -> None:
    """The commands of docs/exports.md, among them a run that takes its statistics from this one's export."""
    blocks = re.findall(
        r"^```sh whole\n(.*?)^```$", (REPO / "docs/exports.md").read_text(encoding="utf-8"), re.M | re.S
    )
    script = "".join(blocks).replace("config/demo/model", "my-model")
    asked = re.compile(r"^snakemake --cores 2 (\S+) --configfile mine.yaml.*\n", re.M)
    # All in one call: what each needs is what the others have made.
    targets = [*asked.findall(script), "results/taken/export/{hf/state,gluscope-site/pages}.json"]
    assert len(targets) == 6
    config, copying = asked.sub("", script).split("python scripts/")
    script = f"{config}snakemake --snakefile {room.repo}/Snakefile --cores 2 {' '.join(targets)}"
    script += f" --configfile mine.yaml taken.yaml\npython {room.repo}/scripts/{copying}"
    site = room.folder.parent / "gluscope.github.io"
    site.mkdir()
    (site / "pages.json").write_text('[{"title": "gemma-2-2b", "children": []}]', encoding="utf-8")
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=room.folder, env=user_environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    (room.folder / "taken.yaml").unlink()
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (room.folder / "results/taken/scan").exists()
    shown = exported(room.folder / "results", "mine", "taken")
    assert shown.same_tables
    assert shown.same_extremes > 40
    assert shown.notes == 1
    titles = [model["title"] for model in json.loads((site / "pages.json").read_text(encoding="utf-8"))]
    assert titles == ["gemma-2-2b", "mine"]
    assert (site / "mine/L1/N7/vis.html").exists()


def jobs(said: str) -> Counter[str]:
    return Counter(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):$", said, re.M))


def turn(path: Path, at: int = -1) -> bytes:
    """Turn a bit over, by default in the middle, as a disk would: no date changes. Returns what stood there."""
    before, stat = path.read_bytes(), path.stat()
    path.write_bytes(flip(before, 8 * (len(before) // 2 if at < 0 else at)))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return before


def test_records_that_are_altered_are_made_again_before_any_job_reads_them(room: Room) -> None:
    """One command; what they say is the same again, so no shard is scanned again. A dry run removes nothing."""
    results = room.folder / "results"
    records = [results / name for name in ("mine/model.json", "mine/plan.json", "datasets/mine-texts/tokens.json")]
    before = {path: turn(path) for path in records}
    gone = results / "mine/site/finder/L1.js"
    before[gone] = gone.read_bytes()
    gone.unlink()
    assert "site_index" in room.plan()
    assert (results / "mine/site/index.html").exists()
    done = room.snakemake()
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for path in records[:2]:
        assert f"{path.relative_to(room.folder)}: expected" in said
    assert "results/mine/site/finder/L1.js: expected" in said
    assert {path: path.read_bytes() for path in before} == before
    made = jobs(said)
    assert not made["scan"], made
    assert made["fetch_model"] == made["plan_shards"] == made["tokenise"] == made["site_index"] == 1
    assert room.plan() == {}


def test_a_bit_of_the_token_data_set_is_named_and_the_same_command_makes_it_again(room: Room) -> None:
    page, data = (room.folder / "results" / name for name in ("mine/site/L1/N7.html", "datasets/mine-texts"))
    before, arrow = page.read_bytes(), data / "data-00000-of-00001.arrow"
    row = int(Recomputed.read(room.folder / "results/mine/neurons/L1/N7.npz").rows[0])
    ids = TokenDataset.open(data).input_ids(row)[:3].tobytes()
    whole = turn(arrow, arrow.read_bytes().index(ids) + 4)
    page.unlink()
    done = room.snakemake(str(page.relative_to(room.folder)))
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "results/datasets/mine-texts/data-00000-of-00001.arrow: expected bytes" in said
    assert "Next: run the same command again" in said
    assert "Traceback" not in said
    done = room.snakemake(str(page.relative_to(room.folder)))
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Removed; it is made anew." in said
    assert not jobs(said)["scan"]
    assert arrow.read_bytes() == whole
    assert page.read_bytes() == before


def test_snakemakes_report_has_the_pages_and_loads_nothing(room: Room) -> None:
    before = room.plan()
    done = room.snakemake("--report", "report.html", "results/mine/site/L0/N3.html", "results/mine/site/L1/N7.html")
    assert done.returncode == 0, done.stdout + done.stderr
    report = room.folder / "report.html"
    html = report.read_text(encoding="utf-8")
    report.unlink()
    assert "Neurons of mine" in html
    assert "L1/N7" in html
    assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)=["'](?:https?:)?//""", html)
    assert room.plan() == before


def test_every_text_is_in_the_data_set(room: Room) -> None:
    record = json.loads((room.folder / "results/datasets/mine-texts/tokens.json").read_text(encoding="utf-8"))
    assert record["rows"] == len(TEXTS)


def test_a_page_leaves_a_start_page_that_lists_it(room: Room) -> None:
    """Also where there was none; the one with all neurons is then made when it is asked for."""
    index = room.folder / "results/mine/site/index.html"

    def listed(page: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
        done = room.snakemake(page, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Open {page} in a browser." in (done.stdout + done.stderr).splitlines()
        found = start_page(index)
        assert page in [f"results/mine/site/L{card['layer']}/N{card['neuron']}.html" for card in found["cards"]]
        return found

    index.unlink()
    assert listed("results/mine/site/L0/N21.html")["finder"] is None
    asked = "results/mine/site/index.html"
    assert room.plan(asked)["site_index"] == 1
    assert room.snakemake(asked).returncode == 0
    date = index.stat().st_mtime_ns
    found = listed("results/mine/site/L0/N22.html")
    assert found["finder"]["rows"] == 96
    assert found["options"] == " --configfile mine.yaml"
    assert index.stat().st_mtime_ns == date

"""A run with others' descriptions, as a user has it: the commands of docs/exports.md, page, search, table, refusals."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pyarrow.parquet
import pytest
from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.export.explainers import module_name
from gluscope.export.neuronpedia_source import SETS
from gluscope.page.pack import unpack
from gluscope.page.refresh import start_page
from helpers.checkout import REPO
from helpers.neuronpedia_list import lines
from helpers.room import Room
from helpers.tiny_models import make

WORDS = "activates on names of capitals"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    room = Room(tmp_path_factory.mktemp("descriptions"))
    make(folder=room.folder / "my-model")
    room.write_texts()
    room.write_config(refactor_glu=True)
    text = (REPO / "docs/exports.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```sh descriptions\n(.*?)^```$", text, re.M | re.S)
    made, asked = block.split("snakemake --cores 2 ")
    found = re.search(r"cat > (\S+) <<'END'\n(.*?)END", made[made.index("cat >") :], re.S)
    assert found
    path = room.folder / found[1]
    path.parent.mkdir(parents=True)
    path.write_text(found[2], encoding="utf-8")
    described(room)
    targets = asked.split(" --configfile")[0].split()
    exports = [RunPaths("mine").export_neuronpedia, RunPaths("mine").export_explainers]
    done = room.snakemake("all", *targets, *exports)
    assert done.returncode == 0, done.stdout + done.stderr
    return room


def described(room: Room, **run: Any) -> None:
    room.write_config(refactor_glu=True, **{"descriptions": "transluce", **run})


def header(room: Room, neuron: str = "L1/N7") -> dict[str, Any]:
    page = (room.folder / f"results/mine/site/{neuron}.html").read_text(encoding="utf-8")
    found = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert found
    return unpack(found[1].strip())[0]


def expected_cases(sign: int) -> set[str]:
    """Where a description of raw post above 0 stands in the refactored convention."""
    return {case.value for case in CASES if case.sign(Quantity.POST) == sign}


def test_page_search_and_table_say_the_same(room: Room) -> None:
    about = header(room)
    said = {SignCase(name): ones for name, ones in about["descriptions"].items() if ones}
    assert {case.value for case in said} == expected_cases(about["sign"])
    for ones in said.values():
        assert ones == [{"words": WORDS, "by": "Transluce", "score": None, "measure": ""}]
    assert "descriptions" not in header(room, "L0/N3")
    index = start_page(room.folder / RunPaths("mine").index)
    assert index
    assert [card.get("said") for card in index["cards"]] == [None, [WORDS]]
    rows = pyarrow.parquet.read_table(room.folder / "results/mine/export/neurons.parquet").to_pylist()
    for row in rows:
        own = expected_cases(about["sign"]) if (row["layer"], row["neuron"]) == (1, 7) else set()
        assert {case.value for case in CASES if row[f"{case.value}_description"] == WORDS} == own
    log = (room.folder / "logs/take_descriptions/mine.log").read_text(encoding="utf-8")
    assert "1 descriptions of 1 neurons from transluce" in log
    html = (room.folder / "results/mine/site/L1/N7.html").read_text(encoding="utf-8")
    assert f"“{WORDS}” (Transluce)" in html
    assert "<dt>descriptions</dt><dd>transluce (sha256 " in html


def test_exports_have_the_words_by_case(room: Room) -> None:
    own, export = expected_cases(header(room)["sign"]), room.folder / RunPaths("mine").export
    found = {file.parent.parent.name: lines(file) for file in export.rglob("neuronpedia/**/explanations/*.gz")}
    assert set(found) == {f"1-{SETS[SignCase(case)]}" for case in own}
    assert {(line["index"], line["description"]) for said in found.values() for line in said} == {("7", WORDS)}
    records = [json.loads(line) for line in (export / "explainers/delphi.jsonl").read_text().splitlines()]
    said = {
        (record["latent"]["module_name"], record["latent"]["latent_index"]): record["explanation"] for record in records
    }
    named = {(module_name(NeuronId(1, 7), SignCase(case)), 7) for case in own}
    assert {name for name, words in said.items() if words} == named & set(said)
    assert len(named & set(said)) > 0
    assert set(said.values()) == {"", WORDS}


def test_what_changes_in_them_makes_the_pages_again_and_no_more(room: Room) -> None:
    assert room.plan() == {}
    more = room.folder / "transluce/explanations/0"
    more.mkdir()
    (more / "3.json").write_text(
        json.dumps(
            {
                "neuron_id": {"layer_index": 0, "neuron_index": 3},
                "explanations": {"negative": [{"explanation": "<script>alert(1)</script>"}]},
            }
        )
    )
    plan = room.plan()
    assert plan == {"take_descriptions": 1, "page": 2, "site_index": 1, "all": 1}
    assert room.snakemake().returncode == 0
    about = header(room, "L0/N3")
    assert {name for name, ones in about["descriptions"].items() if ones} == expected_cases(-about["sign"])
    assert "<script>alert(1)" not in (room.folder / "results/mine/site/L0/N3.html").read_text(encoding="utf-8")
    room.write_config(refactor_glu=True)
    assert room.plan() == {"stage_version": 1, "page": 2, "site_index": 1, "all": 1}
    assert room.snakemake().returncode == 0
    assert "descriptions" not in header(room)
    described(room)
    (more / "3.json").unlink()
    assert room.snakemake().returncode == 0
    assert "descriptions" not in header(room, "L0/N3")


def test_a_batch_of_pages_follows_them_too(room: Room) -> None:
    described(room, neurons=["L1/N*"])
    assert room.snakemake().returncode == 0
    assert header(room)["descriptions"]
    room.write_config(refactor_glu=True, neurons=["L1/N*"])
    assert room.snakemake().returncode == 0
    assert "descriptions" not in header(room)
    described(room)
    assert room.snakemake().returncode == 0


def test_a_single_file_is_an_input(room: Room) -> None:
    row = {"layer": 1, "neuron": 7, "polarity": 1, "description": WORDS, "score": 0.5}
    file = room.folder / "rows.jsonl"
    file.write_text(json.dumps(row))
    described(room, descriptions="rows.jsonl")
    assert room.snakemake().returncode == 0
    assert header(room)["descriptions"]["gate+_in+" if header(room)["sign"] > 0 else "gate+_in-"][0]["score"] == 0.5
    file.write_text(json.dumps({**row, "layer": 9}))
    os.utime(file)
    done = room.snakemake()
    said = done.stdout + done.stderr
    assert done.returncode == 1
    expected = "a neuron of the run's model (layers 0 to 1, neurons 0 to 47)"
    line = f"error: rows.jsonl, line 1: expected {expected}, found L9/N7. Next: name the descriptions of this model."
    assert line in said
    assert "Traceback" not in said
    described(room)
    assert room.snakemake().returncode == 0


def test_what_is_not_there_is_refused_before_any_job(room: Room) -> None:
    described(room, descriptions="transluce/gone.jsonl")
    done = room.snakemake("--dry-run")
    assert done.returncode == 1
    line = "config: runs: mine: descriptions: expected a file or folder that exists, or a hub id, found 'transluce/gone"
    assert line in done.stdout + done.stderr
    described(room, descriptions="user/hub-id")
    done = room.snakemake("--dry-run")
    assert "expected a file or folder that exists, found 'user/hub-id'. Next: look in" in done.stdout + done.stderr
    room.write_config(refactor_glu=True)
    done = room.snakemake("results/mine/descriptions.npz", "--forcerun", "take_descriptions")
    assert done.returncode == 1
    assert "expected `descriptions` in the run mine, found none" in done.stdout + done.stderr
    described(room)

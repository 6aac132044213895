"""Files that were made with other settings, versions or inputs than those of now, by what they say themselves."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gluscope.dataset.build import build
from gluscope.dataset.plan import Plan, Shard
from gluscope.dataset.record import TokenRecord, TokenSettings
from gluscope.dataset.sources import fetch
from gluscope.model.spec import ModelSpec
from gluscope.model.unchanged import revision_now
from gluscope.workflow.as_asked import lines, made_otherwise
from gluscope.workflow.flow import Flow
from helpers.checkout import REPO
from helpers.room import CONFIG, Room
from helpers.tiny_models import make

RUN = Path("results/mine")


def flow(dataset: dict[str, Any] | None = None, **run: Any) -> Flow:
    raw = copy.deepcopy(CONFIG)
    raw["runs"]["mine"].update({"cache": True, "shards": 2, **run})
    raw["datasets"]["mine-texts"].update(dataset or {})
    return Flow(raw, REPO)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose files say that they were made as its config asks."""
    folder = tmp_path_factory.mktemp("made")
    make("OlmoForCausalLM", folder / "my-model")
    Room(folder).write_texts()
    with contextlib.chdir(folder):
        _fill()
    return folder


@pytest.fixture
def made(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flow:
    shutil.copytree(template, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return flow()


def _fill() -> None:
    found = flow()
    sources = fetch("texts.jsonl", "my-model")
    RUN.mkdir(parents=True)
    record = build(
        "results/datasets/mine-texts",
        sources,
        TokenSettings.of(found.dataset("mine-texts")),
        stages=found.version("tokenise"),
    )
    revision = revision_now(Path("my-model"))
    spec = ModelSpec("my-model", revision, "my-model", "X", 2, 8, 16, 99, "silu", "g", "i", "o", "e", "u")
    replace(spec, stages=found.version("fetch_model", "mine")).save(RUN / "model.json")
    shards = [Shard(name, 0, 1, 2, f"rows of {name}") for name in found.shards("mine")]
    Plan("the cut", shards, found.version("plan_shards", "mine")).save(RUN / "plan.json")
    shared = {**found.scanned_with("mine"), "model_revision": revision, "dataset_fingerprint": record.fingerprint}
    shared["convention"] = "raw"
    for shard in shards:
        about = {**shared, "plan": "the cut", "rows_digest": shard.digest}
        store(RUN / f"scan/{shard.name}.zarr.zip", about)
        store(RUN / f"cache/{shard.name}.zarr/zarr.json", {**about, "cache_dtype": found.run("mine").cache_dtype})
    stages = {**shared["stages"], **found.version("merge", "mine")}
    store(RUN / "summary.zarr/zarr.json", {**shared, "stages": stages})
    store(RUN / "weights.zarr/zarr.json", {**shared, "stages": found.version("weights", "mine")})
    version = Path(found.run("mine").paths.version("recompute"))
    version.parent.mkdir(exist_ok=True)
    about = {"stages": found.version("recompute"), "settings": found.settings("recompute", "mine")}
    version.write_text(json.dumps(about))


def store(file: Path, attributes: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"attributes": attributes})
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("zarr.json", text)
    else:
        file.write_text(text)


def found(now: Flow, recorded: bool = False) -> dict[str, tuple[str, str, str]]:
    """What differs, of all files: by name, what, asked for and made with."""
    jobs = [("fetch_model", {}), ("tokenise", {"dataset": "mine-texts"}), ("plan_shards", {}), ("merge", {})]
    jobs += [("scan", {"shard": shard}) for shard in now.shards("mine")]
    jobs += [("weights", {}), ("stage_version", {"stage": "recompute"}), ("page", {}), ("recompute_with_model", {})]
    return {
        other.file.removeprefix("results/"): (other.what, other.asked, other.made)
        for rule, wildcards in jobs
        for other in made_otherwise(now, rule, {"run": "mine", **wildcards}, recorded)
    }


def test_nothing_differs(made: Flow) -> None:
    assert found(made) == {}


def test_keys_of_the_run(made: Flow) -> None:
    scans = {f"mine/scan/{shard}.zarr.zip" for shard in made.shards("mine")}
    k = made.run("mine").k
    other = found(flow(k=k + 1))
    assert other == dict.fromkeys(scans | {"mine/summary.zarr/zarr.json"}, ("k", str(k + 1), str(k)))
    assert found(flow(refactor_glu=True)) == {"mine/summary.zarr/zarr.json": ("convention", "refactored", "raw")}
    caches = {f"mine/cache/{shard}.zarr/zarr.json" for shard in made.shards("mine")}
    assert found(flow(cache_dtype="bfloat16")).keys() == caches
    version = made.run("mine").paths.version("recompute").removeprefix("results/")
    assert found(flow(pages_from="model")).keys() == {version}
    assert found(flow(shards=len(scans) + 1))["mine/plan.json"] == ("shards", str(len(scans) + 1), str(len(scans)))


def test_a_number_format_that_the_checkpoint_decides(made: Flow) -> None:
    assert found(flow(dtype="auto")) == {}, "this one's is float32"
    spec = ModelSpec.read(RUN / "model.json")
    replace(spec, dtype="bfloat16").save(RUN / "model.json")
    other = found(flow(dtype="auto"))
    assert set(other.values()) == {("dtype", "bfloat16", "float32")}
    (RUN / "model.json").unlink()
    assert found(flow(dtype="auto")) == {}, "not known before the model is described"


def test_keys_of_the_data_set(made: Flow) -> None:
    tokens = "datasets/mine-texts/tokens.json"
    assert found(flow({"max_length": 7}), recorded=True)[tokens][:2] == ("max_length", "7")
    os.utime("texts.jsonl", (1, 1))
    assert found(made) == {}, "the same texts under another date"
    Path("other.jsonl").write_text('{"text": "another"}\n')
    assert found(flow({"source": "other.jsonl"}))[tokens][0] == "the source of revision"


def test_a_replaced_model(made: Flow) -> None:
    make("OlmoForCausalLM", Path("my-model"), seed=5)
    other = found(made)
    assert other.keys() == {"mine/model.json"}
    assert other["mine/model.json"][1] == revision_now(Path("my-model"))[:45] + "..."
    assert found(made, recorded=True) == {}, "Snakemake has compared the dates"


def test_results_of_another_model_or_data_set(made: Flow) -> None:
    spec = ModelSpec.read(RUN / "model.json")
    replace(spec, revision="sha256:another").save(RUN / "model.json")
    other = found(made, recorded=True)
    assert {what for what, _, _ in other.values()} == {"model_revision"}
    assert len(other) == len(made.shards("mine")) + 2
    spec.save(RUN / "model.json")
    folder = Path("results/datasets/mine-texts")
    replace(TokenRecord.read(folder), fingerprint="another").save(folder)
    assert found(made, recorded=True).keys() == {"mine/summary.zarr/zarr.json"}


def test_a_shard_of_other_rows(made: Flow) -> None:
    plan = Plan.read(RUN / "plan.json")
    Plan(plan.base, [replace(plan.shards[0], digest="others"), *plan.shards[1:]], plan.stages).save(RUN / "plan.json")
    (other,) = found(made).items()
    assert other == ("mine/scan/0000.zarr.zip", ("rows_digest", "others", "rows of 0000"))


def test_other_versions_of_stages(made: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flow, "version", lambda self, stage, run=None: {stage: "99"})
    other = found(made)
    assert {what for what, _, _ in other.values()} == {"stages"}
    assert len(other) == len(made.shards("mine")) + 6


def test_what_is_damaged_or_not_there_is_left_to_its_readers(made: Flow) -> None:
    for path in RUN.rglob("*"):
        if path.is_file():
            path.write_bytes(b"{")
    assert found(made) == {}
    shutil.rmtree("results")
    assert found(made) == {}


def test_lines_for_people(made: Flow) -> None:
    now = flow(k=made.run("mine").k + 1)
    others = [
        other
        for shard in now.shards("mine") * 3
        for other in made_otherwise(now, "scan", {"run": "mine", "shard": shard}, False)
    ]
    told = lines(others)
    assert told[0] == (
        f"results/mine/scan/0000.zarr.zip was made with k {made.run('mine').k}, asked for is"
        f" {made.run('mine').k + 1}: it is made again."
    )
    assert len(told) == (6 if len(others) > 5 else len(others))

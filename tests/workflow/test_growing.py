"""A data set that grows: only what is new is scanned, and the result is that of a run that saw everything at once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from gluscope.core.paths import RunPaths, shard_name
from gluscope.dataset.plan import Plan
from gluscope.recompute.types import Recomputed
from gluscope.summary.types import LayerSummary
from helpers.room import TEXTS, Room
from helpers.summaries import read_attributes, read_layer, read_sample
from helpers.tiny_models import make

# A text at a time, so that forward passes do not differ in the last bits; a sample that is not all tokens.
KEYS = {"batch_tokens": 1, "samples": 40, "k": 4}
MORE = ["the dog and the cat read a book .", "four five six", "Rome is not in France but Paris is .", "y is 2"]
PATHS = RunPaths("mine")
FRESH = RunPaths("fresh")  # scans the grown data set at once


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    room = Room(tmp_path_factory.mktemp("growing"))
    make(folder=room.folder / "my-model")
    room.write_texts(TEXTS)
    room.write_config(shards=2, **KEYS)
    ran(room, *scans(2))
    return room


def scans(shards: int) -> list[str]:
    return [PATHS.scan(shard_name(index)) for index in range(shards)]


def ran(room: Room, *targets: str) -> dict[str, int]:
    """Jobs of each rule that Snakemake ran."""
    done = room.snakemake(*targets)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(Counter(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):$", done.stdout + done.stderr, re.M)))


def scanned(room: Room) -> dict[str, tuple[int, int]]:
    """When statistics and cache of each shard were written."""
    shards = [path.name[:4] for path in sorted((room.folder / "results/mine/scan").iterdir())]
    when = {name: (room.folder / PATHS.scan(name), room.folder / PATHS.cache(name)) for name in shards}
    return {name: (scan.stat().st_mtime_ns, cache.stat().st_mtime_ns) for name, (scan, cache) in when.items()}


def changed(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str]:
    return [name for name in after if after[name] != before.get(name)]


def test_growing_step_by_step(room: Room) -> None:
    before, plan = scanned(room), Plan.read(room.folder / PATHS.plan)

    room.write_texts(TEXTS + MORE)
    room.write_config(shards=3, **KEYS)
    forecast = {"tokenise": 1, "plan_shards": 1, "scan": 1}
    assert {key: count for key, count in room.plan().items() if key in {*forecast, "fetch_model"}} == forecast
    assert ran(room, *scans(3)) == forecast
    after = scanned(room)
    assert changed(before, after) == ["0002"]
    assert Plan.read(room.folder / PATHS.plan).shards[:2] == plan.shards

    # Nothing is added to the number of shards: the last one grows. Beside it a run that scans it all at once.
    room.write_texts(TEXTS + MORE + MORE)
    config = yaml.safe_load((room.folder / "mine.yaml").read_text())
    config["runs"]["fresh"] = {**config["runs"]["mine"], "shards": 1}
    (room.folder / "fresh.yaml").write_text(yaml.safe_dump(config))
    jobs = ran(room, PATHS.neuron("L1/N7"), FRESH.neuron("L1/N7"), "--configfile", "fresh.yaml")
    both = dict.fromkeys(("plan_shards", "scan", "merge", "recompute", "stage_version"), 2)
    assert jobs == {"fetch_model": 1, "tokenise": 1, **both}
    assert changed(after, scanned(room)) == ["0002"]
    same_as_the_fresh_run(room)

    # Tokens and the model's description are written again, and are what they were: nothing follows.
    again = ran(room, PATHS.neuron("L1/N7"), "--forcerun", "tokenise", "fetch_model")
    assert again == {"tokenise": 1, "fetch_model": 1}

    # A row that was there is another one now: nothing of before is mixed with it.
    room.write_texts(["the dog", *TEXTS[1:], *MORE, *MORE, "one more"])
    before = scanned(room)
    assert ran(room, *scans(3)) == {"tokenise": 1, "plan_shards": 1, "scan": 3}
    assert changed(before, scanned(room)) == ["0000", "0001", "0002"]


def same_as_the_fresh_run(room: Room) -> None:
    """Statistics, samples and pages' values of the grown run, against one that scans the data set as it is."""
    grown, whole = (room.folder / paths.summary for paths in (PATHS, FRESH))
    for layer in range(2):
        left, right = read_layer(grown, layer), read_layer(whole, layer)
        for field in LayerSummary.__dataclass_fields__:
            if field != "sum":
                np.testing.assert_array_equal(getattr(left, field), getattr(right, field), err_msg=field)
        np.testing.assert_allclose(left.sum, right.sum, rtol=1e-9)
    samples = read_sample(grown), read_sample(whole)
    assert len(samples[0].example) == KEYS["samples"]
    np.testing.assert_array_equal(samples[0].example, samples[1].example)
    np.testing.assert_array_equal(samples[0].position, samples[1].position)
    about = [read_attributes(path) for path in (grown, whole)]
    for key in ("dataset_revision", "dataset_fingerprint", "dataset_rows", "dataset_tokens", "rows", "tokens"):
        assert about[0][key] == about[1][key], key
    left_page, right_page = (Recomputed.read(room.folder / paths.neuron("L1/N7")) for paths in (PATHS, FRESH))
    np.testing.assert_array_equal(left_page.rows, right_page.rows)
    # A text is multiplied in blocks that end where the cache's chunks do, and those lie elsewhere in other shards.
    float32 = 2**-23 * np.sqrt(32)  # d_model 32
    np.testing.assert_allclose(left_page.gate, right_page.gate, rtol=0, atol=float32 * right_page.gate_bound)
    np.testing.assert_allclose(left_page.in_, right_page.in_, rtol=0, atol=float32 * right_page.in_bound)


def test_another_model_takes_the_same_tokens(room: Room) -> None:
    make(folder=room.folder / "other-model", seed=5)
    config = yaml.safe_load((room.folder / "mine.yaml").read_text())
    config["runs"]["other"] = {**config["runs"]["mine"], "model": "other-model/"}
    (room.folder / "other.yaml").write_text(yaml.safe_dump(config))
    plan = room.plan("results/other/site/L0/N3.html", "--configfile", "other.yaml")
    assert not {"tokenise", "fetch_dataset"} & set(plan)
    assert plan["scan"] == 3


def test_cluttered_folder_has_no_rest_of_it(room: Room) -> None:
    assert not [path for path in Path(room.folder).rglob("*") if ".writing-" in path.name]

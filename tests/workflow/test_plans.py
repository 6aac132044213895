"""What a dry run says would be done, and how long it takes to say it. No model is needed for that."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.checkout import REPO, snakemake
from helpers.room import Room

ONE_PAGE = {
    "fetch_model": 1, "tokenise": 1, "plan_shards": 1, "scan": 1, "merge": 1, "weights": 1, "stage_version": 2,
    "recompute": 1, "page": 1,
}  # fmt: skip


@pytest.fixture
def room(tmp_path: Path) -> Room:
    room = Room(tmp_path)
    room.write_config()
    room.write_texts()
    room.fake_model(32, 11008)
    return room


def test_a_page_needs_just_what_it_is_made_of(room: Room) -> None:
    assert room.plan("results/mine/site/L31/N11007.html") == ONE_PAGE


def test_a_run_without_cache_asks_for_the_model_twice(room: Room) -> None:
    room.write_config(cache=False, shards=3)
    counts = {**ONE_PAGE, "scan_without_cache": 3, "recompute_with_model": 1}
    del counts["scan"], counts["recompute"]
    assert room.plan("results/mine/site/L0/N0.html") == counts


def test_pages_from_a_replay_scan_twice_and_keep_little(room: Room) -> None:
    room.write_config(cache=False, shards=3, pages_from="replay")
    counts = {**ONE_PAGE, "scan_without_cache": 3, "replay": 3}
    del counts["scan"]
    assert room.plan("results/mine/site/L0/N3.html") == counts


def test_published_activations_take_the_place_of_a_scan(room: Room) -> None:
    room.write_config(activations="user/activations")
    counts = {**ONE_PAGE, "fetch_activations": 1, "take_activations": 1, "recompute_with_model": 1}
    for scanning in ("plan_shards", "scan", "merge", "recompute"):
        del counts[scanning]
    assert room.plan("results/mine/site/L0/N3.html") == counts
    room.write_config(activations="user/activations", pages_from="replay", shards=3)
    counts = {**counts, "plan_shards": 1, "replay": 3, "recompute": 1}
    del counts["recompute_with_model"]
    assert room.plan("results/mine/site/L0/N3.html") == counts


def test_exports_need_the_listed_neurons_values_and_no_pages(room: Room) -> None:
    counts = {key: count for key, count in ONE_PAGE.items() if key != "page"} | {"stage_version": 1, "recompute": 2}
    assert room.plan("results/mine/export/gluscope-site/pages.json") == {**counts, "export_gluscope_site": 1}
    assert room.plan("results/mine/export/neuronpedia/sources.json") == {**counts, "export_neuronpedia": 1}
    for other in ("weights", "stage_version", "recompute"):
        del counts[other]
    assert room.plan("results/mine/export/hf/state.json") == {**counts, "export_hf": 1}


def test_all_makes_the_listed_pages_and_the_site(room: Room) -> None:
    assert room.plan() == {**ONE_PAGE, "recompute": 2, "page": 2, "site_index": 1, "all": 1}


def test_a_site_may_have_a_profile_of_its_own(room: Room) -> None:
    """As profiles/slurm/config.yaml says: a copy of that folder, found by its name in the user's home."""
    own = room.folder / ".config/snakemake/mysite"
    shutil.copytree(REPO / "profiles/slurm", own)
    text = (own / "config.yaml").read_text(encoding="utf-8")
    text = text.replace('# slurm_account: "my-account"', 'slurm_account: "lab"')
    text = text.replace('# slurm_partition: "gpu"', 'slurm_partition: "a100"')
    (own / "config.yaml").write_text(text, encoding="utf-8")
    scan = ["results/mine/scan/0000.zarr.zip", "--snakefile", str(REPO / "Snakefile"), "--configfile=mine.yaml"]
    done = snakemake(room.folder, "--profile", "mysite", "--dry-run", *scan, HOME=str(room.folder), XDG_CONFIG_HOME="")
    assert done.returncode == 0, done.stderr
    resources = re.findall(r"(?:rule|checkpoint) (\w+):.*?resources: (.*?)\n", done.stdout + done.stderr, re.S)
    asked = dict(resources)
    assert "slurm_account=lab" in asked["tokenise"]
    assert "slurm_partition" not in asked["tokenise"]
    assert "gres=gpu:a100:1" in asked["scan"]
    assert "slurm_partition=a100" in asked["scan"]


def test_the_shipped_runs_can_be_planned(tmp_path: Path) -> None:
    plan = Room(tmp_path).plan("all", "results/olmo-7b-0424/site/L5/N10602.html")
    assert plan["demo_text"] == plan["fetch_dataset"] == 1
    assert plan["scan"] == 2, "the demo's"
    assert plan["scan_without_cache"] == plan["replay"] == 16, "a cache of OLMo-7B would take 5.2 TB"


@contextmanager
def processor_time() -> Iterator[list[float]]:
    """A list that gets the seconds of processor time that child processes took."""
    took: list[float] = []
    before = os.times()
    yield took
    after = os.times()
    took.append(after.children_user + after.children_system - before.children_user - before.children_system)


@pytest.mark.parametrize(("neurons", "seconds", "batches"), [(1, 3, range(1)), (10_000, 10, range(64, 129))])
def test_large_plans_are_quick(room: Room, neurons: int, seconds: float, batches: range) -> None:
    every = [f"L{layer}/N{neuron}" for layer in range(32) for neuron in range(11008)]
    room.forked = False
    room.write_config(shards=64, neurons=random.Random(0).sample(every, neurons))
    with processor_time() as start:
        room.snakemake("--list-rules")
    with processor_time() as took:
        plan = room.plan()
    assert plan["scan"] == 64
    assert plan.get("pages", 0) in batches
    assert plan.get("recompute_batch", 0) == (32 if neurons > 1 else 0)  # one a layer
    # Processor time is what it takes on a machine that does nothing else. Where two tests share a core it grows; what
    # the start alone takes (1.6 s on the machine for which the limits were set) tells by how much.
    assert took[0] < seconds * max(1, start[0] / 1.6)

"""What a run says before its first scan, and what it is stopped by."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gluscope.core.cost import ModelSize
from gluscope.core.errors import ConfigError
from gluscope.core.paths import RunPaths
from gluscope.core.size import LayerNeurons, Size
from gluscope.dataset.plan import Plan, Shard
from gluscope.workflow import forecast
from gluscope.workflow.flow import Flow
from gluscope.workflow.forecast import Asked, Room, announce, asked_in, of_plan, refuse
from helpers.checkout import REPO
from helpers.room import CONFIG

SHARDS = [Shard(f"{i:04d}", 2856 * i, 2856 * (i + 1), 1_250_000, f"d{i}") for i in range(16)]
PLAN = Plan("base", SHARDS)
OLMO = {
    "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32,
    "torch_dtype": "float16",
}  # fmt: skip
SIZE = Size.dense(32, 11008)
SPEC: Any = SimpleNamespace(folder="model", d_model=4096, dtype="float16", size=SIZE, mixture=None)
Say = Callable[[str], None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model as large as OLMo-7B (its config), on a disk with 81 TB free."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(OLMO))
    room(monkeypatch, 81 * 10**12)
    return tmp_path


def room(monkeypatch: pytest.MonkeyPatch, free: int, files: int | None = None) -> None:
    monkeypatch.setattr(forecast.Room, "here", lambda: Room(free, files))


def asked(**changes: Any) -> Asked:
    shipped = Asked(
        run="olmo", model="model", revision=None, k=16, samples=4096, cache=False, pages="replay", dtype="bfloat16",
        tf32=False, device="auto", patterns=["L5/N10602"], max_length=1024, max_tokens=None, disk_limit_gb=500,
        go_on=False,
    )  # fmt: skip
    return replace(shipped, **changes)


def jobs(run: str = "olmo", rule: str = "scan", count: int = 16) -> list[tuple[str, dict[str, str]]]:
    return [(rule, {"run": run, "shard": f"{i:04d}"}) for i in range(count)]


def announced(*runs: Asked, due: list[tuple[str, dict[str, str]]]) -> list[str]:
    said: list[str] = []
    announce(SimpleNamespace(asked_of={one.run: one for one in runs}.__getitem__), due, said.append)
    return said


def planned(run: str = "olmo") -> None:
    os.makedirs(RunPaths(run).root, exist_ok=True)
    PLAN.save(RunPaths(run).plan)


def test_the_shipped_run_says_what_the_docs_show(place: Path) -> None:
    planned()
    (line,) = announced(asked(run="olmo"), due=jobs() + jobs(rule="replay"))
    assert line.replace("olmo takes", "olmo-7b-0424 takes") in (REPO / "docs/cluster.md").read_text(encoding="utf-8")


def test_a_cache_of_terabytes_is_refused_in_one_line(place: Path) -> None:
    planned()
    own = asked(cache=True, pages="cache", dtype="float32")
    with pytest.raises(ConfigError) as error:
        announced(own, due=jobs())
    limit = "results/olmo: expected a run that writes at most 500 GB (`disk_limit_gb`), found about 5.28 TB (the cache"
    assert str(error.value).startswith(limit)
    assert "Next: set `cache: false` and `pages_from: replay`; or set `go_on: true`" in str(error.value)
    for allowed in (replace(own, go_on=True), replace(own, disk_limit_gb=5300)):
        assert "2.9 H100 hours (A100: 10) for the scan in float32" in announced(allowed, due=jobs())[0]
    assert announced(own, due=jobs(count=1)), "what is left of it is within the limit"


def test_a_disk_without_room_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned()
    room(monkeypatch, 30 * 10**9)
    with pytest.raises(
        ConfigError, match=r"expected room for about 37 GB .*, found 30 GB free\. Next: set fewer `shards`"
    ):
        announced(asked(), due=jobs())
    room(monkeypatch, 10**13, files=100)
    with pytest.raises(ConfigError, match=r"expected room for 1,254 files, found 100 free"):
        announced(asked(), due=jobs())


def test_runs_of_one_start_share_the_disk(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [asked(run="one"), asked(run="two")]
    for run in runs:
        planned(run.run)
    room(monkeypatch, 50 * 10**9)
    assert announced(runs[0], due=jobs("one"))
    with pytest.raises(ConfigError, match="results/two: expected room for about 74"):
        announced(*runs, due=jobs("one") + jobs("two"))


def test_nothing_is_said_where_nothing_is_scanned(place: Path) -> None:
    assert announced(due=[("page", {"run": "olmo", "neuron": "L5/N1"}), ("plan_shards", {"run": "olmo"})]) == []


def test_before_texts_are_counted_a_million_tokens_are_told(place: Path) -> None:
    first = [("plan_shards", {"run": "olmo"}), *jobs()]
    (line,) = announced(asked(cache=True, max_tokens=20_000_000), due=first)
    assert "takes, for each million tokens (at most 20,000,000 of them), 262 GB of cache and 0.0098 H100 hours" in line
    planned()
    assert announced(asked(cache=True), due=first)[0].startswith("olmo takes, for each million tokens, 262 GB"), (
        "a plan that is made anew says nothing"
    )


def test_a_model_that_is_not_here_yet(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(place / "hub"))
    (line,) = announced(asked(model="allenai/OLMo-7B-0424-hf"), due=jobs())
    assert "what it takes is said when its model is here and its texts are tokenised, before any scan" in line


def test_a_new_plan_counts_the_shards_that_are_to_be_scanned(place: Path) -> None:
    said: list[str] = []
    own = asked(disk_limit_gb=30)
    before = Plan("base", SHARDS[:12])
    with pytest.raises(ConfigError, match="at most 30 GB"):
        of_plan(own, SPEC, PLAN, None, said.append)
    with pytest.raises(ConfigError, match="at most 30 GB"):
        of_plan(own, SPEC, PLAN, before, said.append)
    for shard in before.shards:
        path = Path(RunPaths("olmo").scan(shard.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    of_plan(own, SPEC, PLAN, before, said.append)
    with pytest.raises(ConfigError, match="at most 30 GB"):
        of_plan(own, SPEC, replace(PLAN, base="cut anew"), before, said.append)
    assert ["37 GB" in line for line in said] == [True, True, False, True]


def test_all_neurons_of_a_model_are_pages_of_a_terabyte(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"pages 657 GB\)\. Next: list fewer `neurons`"):
        of_plan(asked(patterns=["L*/N*", "L5/N7"], cache=False, pages="model"), SPEC, PLAN, None, print)


@pytest.mark.parametrize(
    ("patterns", "neurons"),
    [(["L5/E12/N3"], 1), (["L5/E12/N*"], 1024), (["L*/E0/N*"], 16 * 1024), (["L5/E*/N3"], 64), (["L5/E*/N*"], 65536),
     (["L*/E*/N7"], 1024), (["L*/E*/N*", "L5/E1/N2"], 16 * 65536)],
)  # fmt: skip
def test_neurons_of_experts_are_counted(patterns: list[str], neurons: int) -> None:
    """Of OLMoE-1B-7B: 16 layers of 64 experts of 1024 neurons."""
    size = ModelSize.of(Size((LayerNeurons(0, (), 64, 1024),) * 16), 2048, 4 * 2048**2, chosen=8)
    assert asked(patterns=patterns).work(size, SHARDS, []).listed == neurons


@pytest.mark.parametrize(
    ("changes", "format_"),
    [({"dtype": "auto"}, "float16"), ({"dtype": "float32", "tf32": True}, "float32 with TF32"),
     ({"dtype": "float32"}, "float32")],
)  # fmt: skip
def test_the_format_is_said(place: Path, changes: dict[str, Any], format_: str) -> None:
    planned()
    assert f"for the scan in {format_}." in announced(asked(pages="model", **changes), due=jobs())[0]
    assert announced(asked(device="cpu", **changes), due=jobs())[0].endswith("; no GPU (`device: cpu`).")


def test_what_the_job_is_told_is_what_the_workflow_knows(place: Path) -> None:
    raw = {**CONFIG, "datasets": {"mine-texts": {"source": "texts.jsonl", "tokenizer": "model", "max_length": 99}}}
    raw["runs"] = {
        "mine": {"model": "model", "dataset": "mine-texts", "neurons": ["L0/N3"], "go_on": True, "tf32": True},
        "lost": {"model": "./no/such/model", "dataset": "mine-texts", "neurons": []},
    }
    flow = Flow(raw, REPO)
    config = json.loads(json.dumps({"costs": flow.costs()}))
    found = asked_in(config, "mine")
    assert found == flow.asked_of("mine")
    assert (found.model, found.pages, found.max_length, found.go_on, found.tf32) == ("model", "cache", 99, True, True)
    assert asked_in(config, "lost") is None
    assert asked_in({}, "mine") is None
    refuse(
        found, forecast.cost(forecast.size_of("model"), found.work(forecast.size_of("model"), SHARDS, [])), Room(1, 1)
    )


def test_the_room_is_that_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    disk = os.statvfs(".")
    assert Room.here().bytes == pytest.approx(disk.f_bavail * disk.f_frsize, rel=0.2)
    assert Room.here().files is None or Room.here().files > 0

"""The benchmark runs and fills in its page; what it finds with its small sizes means nothing and is not looked at."""

from __future__ import annotations

import runpy
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from gluscope.bench import forward, timing
from gluscope.bench.floor import PAPER, floor, on_paper
from gluscope.bench.report import MARKERS, markdown, picture, put
from gluscope.bench.rounds import Effort, Texts
from gluscope.bench.run import SECTIONS, plan_for, run
from gluscope.bench.shapes import SHAPES
from gluscope.bench.tables import groups, tables
from helpers.checkout import REPO, user_environment

BEGIN, END = MARKERS["cpu"]
TITLES = (
    "The scan against a plain forward pass", "Growth with tokens",
    "The reduction by the number of texts that a shard has had", "Where the time goes", "The floor on this machine",
    "Once a job, whatever its number of tokens", "Writers of a cache", "Pages from the cache", "Merge", "On paper",
)  # fmt: skip
WAYS = (
    "plain pass again (null measurement)", "scan without cache", "the reduction timed by itself", "scan with cache",
    "TransformerLens cache, stack, eager torch", "bytes read, imports included", "neither torch nor transformers",
)  # fmt: skip


def test_the_quick_run_writes_every_table_and_the_picture(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n\n{BEGIN}\nwhat stood here\n{END}\n\nafter\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(REPO / "scripts/bench.py"), "--quick", "--out", str(page), "--folder", str(tmp_path)],
        cwd=tmp_path, env=user_environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# Before\n\n{BEGIN}")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "what stood here" not in text
    assert [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")] == list(TITLES)
    for way in WAYS:
        assert way in text
    assert "nan" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") > 2 for line in tables)
    root = ElementTree.fromstring((tmp_path / "performance.svg").read_text(encoding="utf-8"))
    drawn = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"scan", "scan with cache", "straightforward way"} <= set(drawn)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


class MadeUpEvent:
    """A mark in the stream of a GPU that does everything at once."""

    made: ClassVar[int] = 0

    def __init__(self, **_: object) -> None:
        MadeUpEvent.made += 1

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        assert self.at

    def elapsed_time(self, other: MadeUpEvent) -> float:
        return max(1e-3, (other.at - self.at) * 1000)


def test_what_a_gpu_adds_runs_with_made_up_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times come from events, a cap on bytes ends the cache early, and the GPU's section leaves the CPU's alone."""
    monkeypatch.setattr(timing, "has_events", lambda device: True)
    monkeypatch.setattr(forward, "has_events", lambda device: True)
    monkeypatch.setattr(torch.cuda, "Event", MadeUpEvent)
    cap = 600 * SHAPES["tiny"].cache_bytes_per_token
    plan = plan_for("cuda", True, ("forward", "growth", "profile"), cap)
    found = run(plan, "cpu", torch.float32, tmp_path, lambda line: None)
    assert found.failed == {}
    assert MadeUpEvent.made > 50
    one, found.device = found.forward[0], "cuda"
    assert not one.has("straightforward")
    assert 0 < sum("scan with cache" in times for times in one.times) < len(one.times)
    assert 0 < one.cache_bytes < 1.2 * cap
    text = markdown(tables(found), found.conditions, "x.svg")
    for part in ("scan with cache, first", "torch's own choice of attention", "timed by itself", "8192 tokens with"):
        assert part in text
    assert "On paper" not in text
    assert "nan" not in text
    ElementTree.fromstring(picture(groups(found)))
    both = "".join(f"{begin}\n{name}\n{end}\n" for name, (begin, end) in MARKERS.items())
    put_in = put(both, text, "cuda")
    assert put_in.startswith(both.split(MARKERS["cuda"][0])[0])
    assert text in put_in
    assert not list(tmp_path.iterdir())


def test_a_part_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no\nmemory")

    monkeypatch.setattr("gluscope.bench.run.profile.profile", fails)
    lines: list[str] = []
    found = run(plan_for("cpu", True, ("profile", "growth")), "cpu", torch.float32, tmp_path, lines.append)
    assert found.failed == {"profile of tiny": "RuntimeError: no memory"}
    assert len(found.growth) == 1
    assert "Traceback" in "".join(lines)
    assert not list(tmp_path.iterdir())


def test_plans_hold_what_they_may() -> None:
    gpu = plan_for("cuda", False)
    assert not {"merge", "pages"} & set(gpu.sections)
    assert plan_for("cpu", True).sections == SECTIONS
    assert plan_for("cuda", False, ("merge",), 5.0).sections == ("merge",)
    for shape in map(SHAPES.__getitem__, gpu.shapes):
        texts = Texts(shape, replace(gpu.effort[shape.name], rounds=2), "cpu")
        assert sum(texts.tokens[: texts.rounds_within(20e9, shape)]) * shape.cache_bytes_per_token <= 20e9
        profiled = gpu.profiled.within(20e9, shape)
        assert profiled.rounds * profiled.tokens * shape.cache_bytes_per_token <= 20e9
    assert Effort(tokens=400).within(1.0, SHAPES["olmo-7b"]).tokens == 400


def test_a_section_that_does_not_exist_is_refused() -> None:
    main = runpy.run_path(str(REPO / "scripts/bench.py"))["main"]
    with pytest.raises(SystemExit, match=r"expected --only with some of merge, pages, .* found sums"):
        main(["--only", "growth,sums"])


def test_a_page_without_markers_is_left_alone() -> None:
    with pytest.raises(ValueError, match="markers"):
        put("# Nothing here\n", "text")


def test_the_committed_page_has_its_markers() -> None:
    page = (REPO / "docs/performance.md").read_text(encoding="utf-8")
    for device, (begin, _) in MARKERS.items():
        assert put(page, "x", device).count(begin) == 1


def test_sizes_and_floors_by_hand() -> None:
    """OLMo-7B: 4 d² and 3 d d_mlp a block; Llama-3.1-8B's keys and values have a quarter of the heads."""
    olmo, llama = SHAPES["olmo-7b"], SHAPES["llama-3.1-8b"]
    assert olmo.flop_per_token == 2 * 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert llama.block_parameters == 2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    one = floor(olmo, PAPER[0], 2)
    assert one.pass_ == pytest.approx(12.95e9 / 312e12, rel=0.01)
    assert one.reduction == pytest.approx(4 * 11008 * 32 * 2 / 2.04e12)
    assert one.cache == 262_144
    a100, h100 = on_paper()[:2]
    assert (a100.limit, h100.limit) == ("the forward pass", "writing")
    assert h100.cache_hours == h100.write_hours == pytest.approx(5.243e12 / 3e9 / 3600, rel=1e-3)
    assert a100.replay_hours > a100.cache_hours
    assert [round(estimate.terabytes, 2) for estimate in on_paper()] == [5.24] * 4

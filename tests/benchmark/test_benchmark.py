"""The benchmark runs and fills in its page; what it finds with its small sizes means nothing and is not looked at."""

from __future__ import annotations

import runpy
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from helpers.checkout import PATIENCE, REPO, user_environment

from benchmark import forward, timing
from benchmark.report import MARKERS, markdown, put
from benchmark.rounds import Effort, Texts
from benchmark.run import SECTIONS, plan_for, run
from benchmark.shapes import SHAPES

BEGIN, END = MARKERS["cpu"]
TITLES = (
    "The scan against a plain forward pass", "Growth with tokens", "Writers of a cache", "Pages from the cache",
    "Merge",
)  # fmt: skip
WAYS = (
    "plain pass again (null measurement)", "scan without cache", "the reduction timed by itself", "scan with cache",
    "bytes read, imports included", "neither torch nor transformers",
)  # fmt: skip


def test_the_quick_run_writes_every_table(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n\n{BEGIN}\nwhat stood here\n{END}\n\nafter\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(REPO / "scripts/bench.py"), "--quick", "--out", str(page), "--folder", str(tmp_path)],
        cwd=tmp_path, env=user_environment(), capture_output=True, text=True, timeout=PATIENCE, check=False,
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
    assert [path.name for path in tmp_path.iterdir()] == ["performance.md"]


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
    plan = plan_for("cuda", True, ("forward",), cap)
    found = run(plan, "cpu", torch.float32, tmp_path, lambda line: None)
    assert found.failed == {}
    assert MadeUpEvent.made > 50
    one, found.device, found.dtype = found.forward[0], "cuda", "bfloat16"
    found.conditions[0] = "NVIDIA H100 80GB HBM3, bfloat16"
    assert 0 < sum("scan with cache" in times for times in one.times) < len(one.times)
    assert 0 < one.cache_bytes < 1.2 * cap
    text = markdown(found)
    for part in ("scan with cache, first", "torch's own choice of attention", "timed by itself", "of the H100's 989"):
        assert part in text
    assert "nan" not in text
    both = "".join(f"{begin}\n{name}\n{end}\n" for name, (begin, end) in MARKERS.items())
    put_in = put(both, text, "cuda")
    assert put_in.startswith(both.split(MARKERS["cuda"][0])[0])
    assert text in put_in
    assert not list(tmp_path.iterdir())


def test_a_part_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no\nmemory")

    monkeypatch.setattr("benchmark.run.writing", fails)
    lines: list[str] = []
    found = run(plan_for("cpu", True, ("writing", "merge")), "cpu", torch.float32, tmp_path, lines.append)
    assert found.failed == {"writers of a cache": "RuntimeError: no memory"}
    assert len(found.merges) == 2
    assert "Traceback" in "".join(lines)
    assert not list(tmp_path.iterdir())


def test_plans_hold_what_they_may() -> None:
    gpu = plan_for("cuda", False)
    assert not {"merge", "pages"} & set(gpu.sections)
    assert plan_for("cpu", True).sections == SECTIONS
    assert plan_for("cuda", False, ("merge",), 5.0).sections == ("merge",)
    for name, effort in gpu.efforts.items():
        texts = Texts(SHAPES[name], replace(effort, rounds=2), "cpu")
        rounds = texts.rounds_within(20e9, SHAPES[name])
        assert sum(texts.tokens[:rounds]) * SHAPES[name].cache_bytes_per_token <= 20e9


def test_rounds_fit_the_time() -> None:
    effort = Effort(rounds=16, tokens=1000, seconds=100)
    assert effort.fitting(1000).rounds == 16  # 4 ways, 1 s each
    assert effort.fitting(2500).rounds == 10
    assert effort.fitting(1e6).rounds == 4


def test_a_section_that_does_not_exist_is_refused() -> None:
    main = runpy.run_path(str(REPO / "scripts/bench.py"))["main"]
    with pytest.raises(SystemExit, match=r"expected --only with some of merge, pages, .* found sums"):
        main(["--only", "merge,sums"])


def test_a_page_without_markers_is_left_alone() -> None:
    with pytest.raises(ValueError, match="markers"):
        put("# Nothing here\n", "text")


def test_the_committed_page_has_its_markers() -> None:
    page = (REPO / "docs/performance.md").read_text(encoding="utf-8")
    for device, (begin, _) in MARKERS.items():
        assert put(page, "x", device).count(begin) == 1


def test_sizes_by_hand() -> None:
    """OLMo-7B: 4 d² and 3 d d_mlp a block; Llama-3.1-8B's keys and values have a quarter of the heads."""
    olmo, llama = SHAPES["olmo-7b"], SHAPES["llama-3.1-8b"]
    assert olmo.flop_per_token == 2 * 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert llama.flop_per_token == 2 * 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert olmo.cache_bytes_per_token == 262_144


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_before_any_work() -> None:
    main = runpy.run_path(str(REPO / "scripts/bench.py"))["main"]
    with pytest.raises(SystemExit, match=r"error: --device cuda: expected a GPU that PyTorch sees, found none. Next: "):
        main(["--device", "cuda", "--quick"])

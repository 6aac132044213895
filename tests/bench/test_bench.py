"""The benchmark runs and fills in its page; what it finds with its small sizes means nothing and is not looked at."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from gluscope.bench.floor import PAPER, floor, on_paper
from gluscope.bench.report import BEGIN, END, put
from gluscope.bench.shapes import SHAPES
from helpers.checkout import REPO, user_environment

TITLES = (
    "The scan against a plain forward pass", "Growth with tokens",
    "The reduction by the number of texts that a shard has had", "Where the time goes", "The floor on this machine",
    "Once a job, whatever its number of tokens", "Pages from the cache", "Merge", "On paper",
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


def test_a_page_without_markers_is_left_alone() -> None:
    with pytest.raises(ValueError, match="markers"):
        put("# Nothing here\n", "text")


def test_the_committed_page_has_its_markers() -> None:
    page = (REPO / "docs/performance.md").read_text(encoding="utf-8")
    assert put(page, "x").count(BEGIN) == 1


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

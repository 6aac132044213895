"""What `make status` says of a run, from files, logs and a queue."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.paths import RunPaths
from gluscope.dataset.plan import Plan, Shard
from gluscope.scan.progress import Progress
from gluscope.workflow.queue import QueuedJob, parse_queue
from gluscope.workflow.status import QUIET, as_text, run_status
from helpers.checkout import PATIENCE, REPO

MINE = RunPaths("mine")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six shards of 1000 tokens: done, running, failed, stopped, in the queue, and nothing."""
    monkeypatch.chdir(tmp_path)
    for path in (MINE.model, MINE.weights, MINE.scan("0000"), MINE.page("L1/N7"), MINE.page("L0/N3")):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    Plan("x", [Shard(f"{i:04d}", i, i + 1, 1000, "") for i in range(6)]).save(MINE.plan)
    write_log("0001", progress("0001", 420))
    write_log("0002", "Traceback\nerror: layer 3: expected finite values, found NaN. Next: x.\nmore\n")
    write_log("0003", progress("0003", 100), age=QUIET + 60)
    return tmp_path


def progress(shard: str, tokens: int) -> str:
    """What a scan writes into its log, as its own class writes it: 100 tokens a second."""
    now, stream = [0.0], io.StringIO()
    with Progress(1000, f"scan {shard}", stream, clock=lambda: now[0]) as bar:
        now[0] = tokens / 100
        bar.add(tokens)
    return stream.getvalue()


def write_log(shard: str, text: str, age: float = 0) -> None:
    log = Path(f"logs/scan/mine/{shard}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text)
    os.utime(log, (log.stat().st_atime, log.stat().st_mtime - age))


def queue(folder: Path) -> list[QueuedJob]:
    text = f"71|PENDING|{folder}|rule_scan_wildcards_mine_0004\n72|RUNNING|{folder}|rule_scan_wildcards_mine_0001\n"
    return parse_queue(text, str(folder))


def test_each_shard_has_its_state(folder: Path) -> None:
    status = run_status("mine", queue(folder))
    assert [shard.state for shard in status.shards] == ["done", "running", "failed", "stopped", "queued", "waiting"]
    assert [shard.done for shard in status.shards] == [1000, 420, 0, 100, 0, 0]
    assert (status.tokens, status.rate, status.pages) == (6000, 100, 2)
    assert {part.name: part.state for part in status.stages} == {
        "fetch_model": "done", "plan_shards": "done", "weights": "done", "merge": "waiting",
    }  # fmt: skip


def test_without_slurm_a_log_that_grows_is_a_job_that_runs(folder: Path) -> None:
    status = run_status("mine", None)
    assert [shard.state for shard in status.shards] == ["done", "running", "failed", "stopped", "waiting", "waiting"]


def test_what_people_read(folder: Path) -> None:
    Path("logs/slurm/rule_scan/mine_0003").mkdir(parents=True)
    for number in (8, 9):
        Path(f"logs/slurm/rule_scan/mine_0003/{number}.log").touch()
        os.utime(f"logs/slurm/rule_scan/mine_0003/{number}.log", (number, number))
    text = as_text(run_status("mine", queue(folder)), now=0.0)
    assert (
        "mine: 1 of 6 shards done, 1 running, 1 failed, 1 stopped, 1 queued, 1 waiting; 1,520 of 6,000 tokens" in text
    )
    assert "; 100 tokens/s, the scan ends about" in text
    assert "  0001 running: scan 0001: 42 %, 420 of 1,000 tokens, 100 tokens/s, 0:00:04 gone, 0:00:06 left" in text
    assert (
        "  0002 failed: error: layer 3: expected finite values, found NaN. Next: x.\n    logs/scan/mine/0002.log"
        in text
    )
    assert "    logs/scan/mine/0003.log\n    logs/slurm/rule_scan/mine_0003/9.log" in text
    assert "  0004 queued: job 71" in text
    assert "0005" not in text


def test_the_command(folder: Path) -> None:
    def status(*runs: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(REPO / "scripts/status.py"), *runs]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert status().stdout.startswith("mine: 1 of 6 shards done")
    assert status("mine").stdout == status().stdout
    wrong = status("mime")
    assert wrong.returncode == 1
    assert wrong.stderr == (
        "error: results/mime: expected a run that was started, found none. Next: name one of: mine.\n"
    )
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_any_text_in_a_log_is_survived(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        Path("logs/scan/mine/0001.log").write_bytes(rng.bytes(200))
        assert as_text(run_status("mine", None))

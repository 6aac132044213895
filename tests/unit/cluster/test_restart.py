"""After a start that died: whose jobs are waited for, which locks and marks go."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from gluscope.cluster.leftovers import OWNER, keep_finished_files, take_over
from gluscope.cluster.queue import QueuedJob, parse_queue, wait_for_earlier_jobs
from gluscope.cluster.restart import make_good


def test_only_jobs_of_this_folder_and_workflow(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    link = tmp_path / "link"
    link.symlink_to(here)
    text = (
        f"17|RUNNING|{here}|rule_scan_wildcards_demo_0003\n"
        f"18|PENDING|{link}|rule_merge\n"
        f"19|RUNNING|{here}|(null)\n"
        f"20|RUNNING|{tmp_path}|rule_scan_wildcards_demo_0003\n"
    )
    assert parse_queue(text, str(here)) == [
        QueuedJob(17, "RUNNING", "scan demo_0003"),
        QueuedJob(18, "PENDING", "merge"),
    ]


def test_waits_until_the_queue_is_empty_and_through_an_outage() -> None:
    job = QueuedJob(17, "RUNNING", "scan demo_0003")
    answers = iter([[job, job], [job, job], None, [job], []])
    said: list[str] = []
    naps: list[float] = []
    assert wait_for_earlier_jobs(said.append, lambda: next(answers), 5, naps.append)
    assert len(naps) == 4
    assert len(said) == 2
    assert "2 jobs" in said[0]
    assert "scancel 17" in said[1]


def test_without_slurm_nothing_is_known() -> None:
    assert not wait_for_earlier_jobs(pytest.fail, lambda: None)


def _mark(state: Path, name: str) -> Path:
    code = urlsafe_b64encode(name.encode()).decode()
    parts = [code[i : i + 254] for i in range(0, len(code), 254)]
    mark = state.joinpath("incomplete", *("@" + part for part in parts[:-1]), parts[-1])
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text("{}")
    return mark


def test_finished_files_are_kept(tmp_path: Path) -> None:
    state = tmp_path / ".snakemake"
    there, long, gone, other = "results/r/a", "results/r/" + "b/" * 150 + "c", "results/r/gone", "elsewhere/a"
    for name in (there, long, other):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("whole")
    marks = {name: _mark(state, name) for name in (there, long, gone, other)}
    assert keep_finished_files(state, tmp_path) == [there, long]
    assert [name for name, mark in marks.items() if mark.exists()] == [gone, other]


def test_locks_of_a_dead_owner_go_and_of_a_live_one_stay(tmp_path: Path) -> None:
    lock = tmp_path / "locks/0.output.lock"
    lock.parent.mkdir()

    def owned_by(host: str, pid: int, started: str) -> None:
        lock.write_text("results/x")
        (tmp_path / OWNER).write_text(json.dumps({"host": host, "pid": pid, "started": started}))

    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        started = Path(f"/proc/{sleeper.pid}/stat").read_text().rpartition(")")[2].split()[19]
        owned_by(socket.gethostname(), sleeper.pid, started)
        assert take_over(tmp_path) == []
        assert lock.exists()
        owned_by(socket.gethostname(), sleeper.pid, str(int(started) - 1))  # the pid was given to another process
        assert take_over(tmp_path) == [lock.name]
    finally:
        sleeper.kill()
        sleeper.wait()
    owned_by(socket.gethostname(), sleeper.pid, started)
    assert take_over(tmp_path) == [lock.name]
    assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
    owned_by("another-login-node", sleeper.pid, started)
    assert take_over(tmp_path) == []
    assert lock.exists()


def test_a_start_after_a_kill_waits_and_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = tmp_path / ".snakemake"
    mark = _mark(state, "results/r/a")
    (tmp_path / "results/r").mkdir(parents=True)
    (tmp_path / "results/r/a").write_text("whole")
    half = tmp_path / "results/r/b.writing-elsewhere-1-abcd"
    half.write_text("half")
    asked: list[int] = []

    def queue() -> list[QueuedJob]:
        asked.append(1)
        return []

    said: list[str] = []
    make_good(said.append, state, queue)
    assert (len(said), len(asked), mark.exists(), half.exists()) == (1, 1, False, False)
    make_good(said.append, state, queue)
    assert len(asked) == 1, "without marks nobody asks SLURM"

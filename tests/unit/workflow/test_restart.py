"""After a start that died: whose jobs are waited for, which locks and marks go."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import gluscope
import pytest
from gluscope.workflow.marks import FileMarks
from gluscope.workflow.owners import OWNERS, Owner, forget_other_hosts, take_over
from gluscope.workflow.queue import QueuedJob, parse_queue, wait_for_earlier_jobs
from gluscope.workflow.restart import keep_finished_files, make_good


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
    assert keep_finished_files(FileMarks(state), tmp_path) == [there, long]
    assert [name for name, mark in marks.items() if mark.exists()] == [gone, other]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def _started(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]


def _entered(state: Path, host: str, pid: int, started: str) -> Path:
    file = Owner(host, pid, started).file(state)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"host": host, "pid": pid, "started": started}))
    return file


def _lock(state: Path) -> Path:
    lock = state / "locks/0.output.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("results/x")
    return lock


def test_the_lock_of_a_live_start_stays(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    lock, started = _lock(tmp_path), _started(sleeper)
    entry = _entered(tmp_path, socket.gethostname(), sleeper.pid, started)
    assert take_over(tmp_path) == ([], [Owner(socket.gethostname(), sleeper.pid, started)])
    # Another start of the same target came, failed at the lock, and died or ended: the first one lives all the same.
    _entered(tmp_path, socket.gethostname(), sleeper.pid, str(int(started) - 1))
    assert take_over(tmp_path)[0] == []
    assert lock.exists()
    assert entry.exists()
    sleeper.kill()
    sleeper.wait()
    assert take_over(tmp_path) == ([lock.name], [])
    assert not entry.exists()


def test_the_lock_of_a_dead_start_goes(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    lock = _lock(tmp_path)
    assert take_over(tmp_path) == ([], []), "nobody is known to have died"
    _entered(tmp_path, socket.gethostname(), sleeper.pid, str(int(_started(sleeper)) - 1))  # its number came again
    assert take_over(tmp_path) == ([lock.name], [])
    assert [file.name for file in (tmp_path / OWNERS).iterdir()] == [Owner.this().file(tmp_path).name]


def test_what_starts_of_another_host_do_is_not_known(tmp_path: Path) -> None:
    lock, other = _lock(tmp_path), Owner("another-login-node", 17, "1")
    _entered(tmp_path, other.host, other.pid, "1")
    assert take_over(tmp_path) == ([], [other])
    assert lock.exists()
    forget_other_hosts(tmp_path)
    assert take_over(tmp_path) == ([], [])


def test_a_start_leaves_when_it_ends(tmp_path: Path) -> None:
    code = "from pathlib import Path; from gluscope.workflow.owners import take_over; take_over(Path('state'))"
    again = f"{code}; assert len(list(Path('state/gluscope-owners').iterdir())) == 1; raise SystemExit(3)"
    environment = {**os.environ, "PYTHONPATH": str(Path(gluscope.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", again], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 3
    assert not list((tmp_path / "state" / OWNERS).iterdir())


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


def test_nothing_is_removed_while_another_start_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes]
) -> None:
    monkeypatch.chdir(tmp_path)
    state = tmp_path / ".snakemake"
    mark, half = _mark(state, "results/r/a"), tmp_path / "results/r/b.writing-elsewhere-1-abcd"
    half.parent.mkdir(parents=True)
    half.write_text("half")
    _entered(state, socket.gethostname(), sleeper.pid, _started(sleeper))
    asked: list[int] = []
    make_good(pytest.fail, state, lambda: asked.append(1) or [])  # type: ignore[func-returns-value]
    assert (asked, mark.exists(), half.exists()) == ([1], True, True)

"""What is around every rule's work: log, one-line errors, threads, the hub switched off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from gluscope.core.errors import StoreError
from gluscope.workflow.job import explain, start
from helpers.checkout import PATIENCE, REPO


@pytest.fixture
def smk(tmp_path: Path) -> SimpleNamespace:
    return SimpleNamespace(log=[str(tmp_path / "logs/x/job.log")], threads=3)


def log_of(smk: SimpleNamespace) -> str:
    return Path(smk.log[0]).read_text(encoding="utf-8")


def test_what_is_said_reaches_terminal_and_log(smk: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    with start(smk) as job:
        job.say("half way \ud800")
        print("done")
    shown = capsys.readouterr()
    assert shown.out == "done\n"
    assert shown.err.startswith("half way ")
    assert log_of(smk).startswith("half way ")
    assert log_of(smk).endswith("done\n")


def test_a_line_that_is_overwritten_is_logged_once(smk: SimpleNamespace) -> None:
    with start(smk):
        sys.stderr.write("\r 10 %")
        sys.stderr.write("\r 90 %\r100 %")
        sys.stderr.write("\nnext\n")
    assert log_of(smk) == "100 %\nnext\n"


def test_progress_is_drawn_on_the_terminal_and_noted_in_the_log(smk: SimpleNamespace) -> None:
    with start(smk):
        sys.stderr.write("\r\x1b[K[##..] 50 %")
        sys.stderr.note("50 %\n")
        sys.stderr.write("\r\x1b[K[####] 100 %\n")
    assert log_of(smk) == "50 %\n"


def test_an_error_is_one_line_and_its_traceback_is_in_the_log(
    smk: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left, start(smk):
        raise StoreError("scan/0007", "1000 rows", "998", "run it again")
    assert left.value.code == 1
    line = "error: scan/0007: expected 1000 rows, found 998. Next: run it again.\n"
    assert capsys.readouterr().err == line
    assert log_of(smk).startswith(line + "Traceback")


def test_any_other_exception_is_one_line_that_names_the_log(
    smk: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), start(smk):
        raise ValueError("two\nlines")
    assert capsys.readouterr().err == f"error: ValueError: two lines\nThe log has more: {smk.log[0]}\n"
    assert "Traceback" in log_of(smk)


def test_known_causes_say_what_to_do() -> None:
    assert "no space left. Next: free some" in explain(OSError(28, "No space left on device", "results/x"))
    assert "results/x" in explain(OSError(28, "No space left on device", "results/x"))
    assert "`batch_tokens`" in explain(MemoryError())
    assert explain(OSError(2, "No such file", "x")).startswith("FileNotFoundError: ")


def test_threads_and_hub(smk: SimpleNamespace) -> None:
    with start(smk):
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("theirs", [{}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_threads_that_wait_go_to_sleep_soon(
    smk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, theirs: dict[str, str]
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    with start(smk):
        found = {name: os.environ[name] for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY") if name in os.environ}
    assert found == (theirs or {"GOMP_SPINCOUNT": "10000"})


def test_a_fetch_may_reach_the_hub(smk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with start(smk, online=True):
        assert "HF_HUB_OFFLINE" not in os.environ


def test_the_process_is_as_before_afterwards(smk: SimpleNamespace) -> None:
    before = dict(os.environ), sys.stdout, sys.stderr, signal.getsignal(signal.SIGTERM)
    with start(smk):
        assert signal.getsignal(signal.SIGTERM) is not before[3]
    assert (dict(os.environ), sys.stdout, sys.stderr, signal.getsignal(signal.SIGTERM)) == before


def test_sigterm_unwinds_the_work(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from types import SimpleNamespace
from gluscope.workflow.job import start
with start(SimpleNamespace(log=[sys.argv[1]], threads=1)):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    finally:
        print("tidied up")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log")],
        cwd=REPO / "scripts", capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 143
    assert "tidied up" in done.stdout
    assert done.stderr == "error: stopped by SIGTERM. Next: run the same command again.\n"

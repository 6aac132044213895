"""What every job of the workflow does around its work: log file, errors in one line, threads, the hub switched off."""

from __future__ import annotations

import errno
import faulthandler
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from gluscope.core.cores import GIVEN
from gluscope.core.errors import GluscopeError, StoreError, WrongFile, one_line
from gluscope.core.paths import RESULTS, results_in
from gluscope.model.unchanged import models_unchanged
from gluscope.stages.made import refuse_old
from gluscope.store.damage import NOTHING_THERE
from gluscope.workflow.claims import claimed
from gluscope.workflow.damaged import NOTES, note, why_noted
from gluscope.workflow.whole import check_whole

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
# How long a thread of a CPU's forward pass asks for work before it sleeps; GNU's own 300,000 rounds take the cores from
# the threads that it waits for, wherever a machine has more to do than cores. docs/performance.md
_SPINS = "10000"
_AGAIN = "run the same command again: only it is made anew"


@dataclass(frozen=True)
class Job:
    """A job that runs. `say` writes a line for people, to the terminal and the log."""

    log: str | None

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def start(smk: Any, *, online: bool = False) -> Iterator[Job]:
    """Run a rule's work: `with start(snakemake) as job: ...`.

    What the work prints goes to the terminal and to the rule's log. An exception becomes one line on the terminal,
    its traceback goes to the log alone, and the process exits with status 1. SIGTERM (a cancelled job, a time limit)
    unwinds the work, so that temporary files go away. Hub access is off unless `online`. Afterwards the process is as
    it was before, for tests that call rule scripts.
    """
    log = str(smk.log[0]) if getattr(smk, "log", None) else None
    environment, streams = dict(os.environ), (sys.stdout, sys.stderr)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(smk.threads)))
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    os.environ.setdefault(GIVEN, os.environ.get("SLURM_CPUS_PER_TASK", ""))
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if smk.threads > 1 else "false"
    if not online:
        os.environ.update(dict.fromkeys(OFFLINE_VARIABLES, "1"))
    random.seed(0)
    try:
        with _log_file(log) as file, _unwound_by_sigterm():
            if file is not None:
                sys.stdout, sys.stderr = Tee(streams[0], file), Tee(streams[1], file)  # type: ignore[assignment]
                faulthandler.enable(file)
            try:
                # A retry would read it all again, to the same end.
                if why := why_noted(getattr(smk, "input", ())):
                    print(f"error: {why}. Next: {_AGAIN}.", file=sys.stderr)
                    raise SystemExit(1)
                refuse_old(getattr(smk, "input", ()))
                with (
                    results_in(getattr(smk, "config", {}).get("results", RESULTS)),
                    models_unchanged(map(str, getattr(smk, "input", ()))),
                    claimed(map(str, getattr(smk, "output", ()))),
                ):
                    yield Job(log)
            except Exception as error:
                print(f"error: {explain(_noted(error))}", file=sys.stderr)
                if file is not None:
                    traceback.print_exc(file=file)
                    if not isinstance(error, GluscopeError):
                        print(f"The log has more: {log}", file=streams[1])
                raise SystemExit(1) from error
            finally:
                faulthandler.disable()
                sys.stdout, sys.stderr = streams
    finally:
        os.environ.clear()
        os.environ.update(environment)


def _noted(error: Exception) -> Exception:
    """Have the next start make anew what is damaged or of other settings; say so."""
    if not isinstance(error, GluscopeError) or not error.redo or not Path(NOTES).parent.is_dir():
        return error
    step = _AGAIN
    try:
        if isinstance(error, StoreError) and not isinstance(error, WrongFile):
            for store in error.redo:
                check_whole(store)
            step = "run the same command again: a second look found it whole, so a disk or the memory may be failing"
            if error.found == NOTHING_THERE:
                step = "the file is whole without: other code made it, whose stage needs a new version (make stages)"
            return type(error)(error.where, error.expected, error.found, step)
    except StoreError:
        pass  # twice: that is what is on the disk
    told = type(error)(error.where, error.expected, error.found, step)
    for store in error.redo:
        why = f"{error.where}: expected {error.expected}, found {error.found}"
        note(
            store,
            why
            if len(error.redo) == 1
            else f"{store}: expected settings, rows and versions as they are now, found others",
        )
    return told


def explain(error: BaseException) -> str:
    """An exception as one line, with what to do where that is known."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'the disk'}: no space left. Next: free some, then run the same command again."
    if isinstance(error, MemoryError) or type(error).__name__ in ("OutOfMemoryError", "ArrayMemoryError"):
        return f"{one_line(error)} Next: give the job more memory (mem_mb), or the run a smaller `batch_tokens`."
    return one_line(error)


class Tee:
    """A text stream that writes to a terminal and to a log; of a line that is overwritten the log gets the end."""

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self._terminal, self._log, self._line = terminal, log, ""

    def write(self, text: str) -> int:
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        self._terminal.write(text)
        *complete, self._line = (self._line + text).split("\n")
        # What clears its line is a progress bar of ours, which tells the log itself.
        plain = [line for line in complete if "\x1b[K" not in line]
        self._log.writelines(line.rstrip("\r").rpartition("\r")[2] + "\n" for line in plain)
        self._log.flush()
        return len(text)

    def note(self, text: str) -> None:
        """Write to the log only."""
        self._log.write(text)

    def flush(self) -> None:
        self._terminal.flush()
        self._log.flush()

    def isatty(self) -> bool:
        return self._terminal.isatty()

    def fileno(self) -> int:
        return self._terminal.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)


@contextmanager
def _log_file(path: str | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        yield file


@contextmanager
def _unwound_by_sigterm() -> Iterator[None]:
    def leave(number: int, frame: FrameType | None) -> None:
        print("error: stopped by SIGTERM. Next: run the same command again.", file=sys.stderr)
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""Jobs that an earlier start of the workflow left in SLURM's queue.

When Snakemake dies its jobs go on. A second start would submit the same shards again, so it first waits for them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_FIELDS = "%i|%T|%Z|%k"  # id, state, working directory, comment


@dataclass(frozen=True)
class QueuedJob:
    """A job of this working directory in the queue. `what`: its rule and wildcards, as the executor names them."""

    id: int
    state: str
    what: str

    def __str__(self) -> str:
        return f"{self.id} ({self.what}, {self.state.lower()})"


def parse_queue(text: str, folder: str) -> list[QueuedJob]:
    """Jobs of `squeue -o '%i|%T|%Z|%k'` that Snakemake's SLURM executor submitted from `folder`."""
    jobs = []
    for line in text.splitlines():
        identity, state, where, comment = line.strip().split("|", 3)
        if os.path.realpath(where) == os.path.realpath(folder) and comment.startswith("rule_"):
            what = comment.removeprefix("rule_").replace("_wildcards_", " ")
            jobs.append(QueuedJob(int(identity.partition("_")[0]), state, what))
    return jobs


def jobs_in_queue(folder: str | Path = ".") -> list[QueuedJob] | None:
    """Jobs of this user and folder that SLURM still holds; None where SLURM is not there or does not answer."""
    if shutil.which("squeue") is None:
        return None
    try:
        done = subprocess.run(
            ["squeue", "--me", "--noheader", "-o", _FIELDS], capture_output=True, text=True, timeout=60, check=True
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return parse_queue(done.stdout, str(folder))


def wait_for_earlier_jobs(
    say: Callable[[str], None],
    queue: Callable[[], list[QueuedJob] | None] = jobs_in_queue,
    seconds: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until no job of an earlier start is left; say so once, and again when the number changes.

    True if it is known that none is left, False where SLURM could not be asked. A controller that does not answer in
    the middle of the wait is asked again: jobs are taken as running until SLURM says otherwise.
    """
    jobs = queue()
    if jobs is None:
        return False
    told = -1
    while jobs is None or jobs:
        if jobs is not None and len(jobs) != told:
            told = len(jobs)
            names = ", ".join(map(str, jobs[:5])) + (f" and {told - 5} more" if told > 5 else "")
            say(
                f"Waiting for {told} job{'s' if told > 1 else ''} of an earlier start: {names}. Their results are kept."
                f" To drop them instead: scancel {' '.join(str(job.id) for job in jobs)}"
            )
        sleep(seconds)
        jobs = queue()
    return True

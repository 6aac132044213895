"""Ends Snakemake's wait for SLURM jobs that no longer exist.

The executor takes a job that SLURM does not list as one that will soon be listed. A controller that was killed may have
forgotten it, and a finished job is listed for `MinJobAge` seconds only: Snakemake would wait for ever. Whoever is gone
from the queue for `SECONDS`, while SLURM answers, is ended: as done if all that it was to make is there (files appear
whole or not at all), else as failed, so that Snakemake submits it again.

The executor is Snakemake's plugin for SLURM, in this process; two of its functions are replaced.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLUGIN = "snakemake_executor_plugin_slurm"
SECONDS = 300.0  # that a job must be gone, over at least two looks
_ENDED = frozenset({"PREEMPTED"})  # which the executor waits for even where SLURM will not start it again
_ALIVE = frozenset({"PENDING", "RUNNING", "REQUEUED", "RESIZING", "SUSPENDED"})


@dataclass
class Watch:
    """What is known of the jobs that a start waits for.

    ask: id and state of every job that SLURM lists, those that ended lately included; None while it does not answer.
    accounted: state of a job by SLURM's accounting; None without accounting, and for a job that it does not know.
    missing: since when (seconds, of `clock`) a job is not listed. seen: those that have been.
    """

    ask: Callable[[], dict[str, str] | None]
    accounted: Callable[[str], str | None]
    seconds: float = SECONDS
    clock: Callable[[], float] = time.monotonic
    missing: dict[str, float] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def gone(self, jobs: Iterable[str], requeued: bool) -> dict[str, str]:
        """Of these ids those that will not end by themselves, each with the reason. requeued: SLURM starts a preempted
        job again."""
        listed = self.ask()
        if listed is None:
            return {}
        now, gone = self.clock(), {}
        for job in jobs:
            state = listed.get(job) or listed.get(job.partition("_")[0])
            if state is not None:
                self.missing.pop(job, None)
                self.seen.add(job)
                if state in _ENDED and not requeued:
                    gone[job] = f"was ended by SLURM ({state.lower()})"
            elif now - self.missing.setdefault(job, now) >= self.seconds and not self._elsewhere(job):
                gone[job] = f"is in SLURM's queue no more, for {(now - self.missing[job]) / 60:.0f} minutes"
        return gone

    def _elsewhere(self, job: str) -> bool:
        """A job that has never been listed here and is alive by the accounts may be in a queue that is not shown."""
        return job not in self.seen and self.accounted(job) in _ALIVE


def listed_jobs() -> dict[str, str] | None:
    """Id and state of this user's jobs in squeue; None where it does not answer."""
    queue = _lines("squeue", "--me", "--noheader", "--states=all", "--format=%i|%T")
    return None if queue is None else dict(line.strip().split("|", 1) for line in queue)


def accounted_state(job: str) -> str | None:
    """State of a job in sacct; None where that says nothing."""
    if shutil.which("sacct") is None:
        return None
    found = _lines("sacct", "-X", "--parsable2", "--noheader", "--format=JobIdRaw,State", "-j", job)
    return found[0].partition("|")[2].split(" ")[0] if found else None


def _lines(*command: str) -> list[str] | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return [line for line in done.stdout.splitlines() if "|" in line]


def install() -> None:
    """Watch the jobs of the SLURM executor, if that is loaded."""
    plugin: Any = sys.modules.get(PLUGIN)
    if plugin is None or hasattr(plugin.Executor, "gluscope_watch"):
        return
    plugin.Executor.gluscope_watch = watch = Watch(listed_jobs, accounted_state)
    plugin.Executor.check_active_jobs = _watched(plugin.Executor.check_active_jobs, watch)
    plugin.get_min_job_age = _first_answer(plugin.get_min_job_age)


def _watched(checked: Callable[..., AsyncIterator[Any]], watch: Watch) -> Callable[..., AsyncIterator[Any]]:
    async def check_active_jobs(self: Any, active_jobs: list[Any]) -> AsyncIterator[Any]:
        requeued = bool(self.workflow.executor_settings.requeue)
        ours = {str(job.external_jobid): job for job in active_jobs if not _elsewhere(job)}
        gone = await asyncio.to_thread(watch.gone, ours, requeued) if ours else {}
        for number, why in gone.items():
            _end(self, ours[number], number, why)
        async for job in checked(self, [job for job in active_jobs if str(job.external_jobid) not in gone]):
            yield job

    return check_active_jobs


def _elsewhere(job: Any) -> bool:
    """Whether a job was sent to another cluster, of whose queue the commands here say nothing."""
    return any(job.job.resources.get(name) for name in ("cluster", "clusters", "slurm_cluster"))


def _end(executor: Any, job: Any, number: str, why: str) -> None:
    """A job that is gone has done its work if all of its files are there: Snakemake removed them before it began."""
    files = [str(path) for path in job.job.output]
    if files and all(Path(path).exists() for path in files):
        executor.logger.warning(f"SLURM job {number} {why}; all of its files are there, so it is taken as done.")
        executor.report_job_success(job)
        return
    log = job.aux.get("slurm_logfile") if job.aux else None
    executor.report_job_error(job, msg=f"SLURM job {number} {why}. ", aux_logs=[str(log)] if log else [])


def _first_answer(asked: Callable[[], int | None]) -> Callable[[], int | None]:
    """How long SLURM lists finished jobs, in seconds, which does not change while a start lives.

    A controller that does not answer just then made the executor turn to sacct for good, which without accounting says
    nothing: what is not known is taken as long enough, and asked again at the next look.
    """
    known: list[int] = []

    def get_min_job_age() -> int | None:
        if not known and (answer := asked()) is not None:
            known.append(answer)
        return known[0] if known else 10**9

    return get_min_job_age

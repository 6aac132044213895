"""How far a run is, from its files, its logs and SLURM's queue. Nothing is locked, started or written.

`what` of a job in the queue is its rule and wildcards as the executor writes them, `scan mine_0003`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gluscope.core.errors import StoreError
from gluscope.core.paths import PAGES, RunPaths
from gluscope.dataset.plan import Plan
from gluscope.workflow.queue import QueuedJob

QUIET = 600  # seconds without a line in its log after which a job that no queue knows is taken as stopped
_PROGRESS = re.compile(r"(\d+) %, ([\d,]+) of [\d,]+ tokens, ([\d,]+) tokens/s, [\d:]+ gone, [\d:?]+ left")


@dataclass(frozen=True)
class Progress:
    """One job's work. state: done, running, queued, failed, stopped (its log ends and no job is there) or waiting.

    note: what its log said last, if it runs or failed. log: path. done, rate: tokens, and tokens a second.
    """

    name: str
    state: str
    note: str = ""
    log: str = ""
    done: int = 0
    rate: int = 0


@dataclass(frozen=True)
class RunStatus:
    """tokens: of all shards, 0 while there is no plan of them. pages: how many there are."""

    run: str
    stages: list[Progress]
    shards: list[Progress]
    tokens: int
    pages: int

    @property
    def rate(self) -> int:
        """Tokens a second of all running scans together."""
        return sum(shard.rate for shard in self.shards if shard.state == "running")


def run_status(run: str, queue: Sequence[QueuedJob] | None, now: float | None = None) -> RunStatus:
    """The status of a run in the working directory. queue: None where there is no SLURM."""
    paths, now = RunPaths(run), time.time() if now is None else now
    try:
        plan = Plan.read(paths.plan).shards
    except StoreError:
        plan = []
    rules = {"fetch_model": paths.model, "plan_shards": paths.plan, "weights": paths.weights, "merge": paths.summary}
    stages = [
        _progress(rule, file, f"logs/{rule}/{run}.log", f"{rule} {run}", queue, now) for rule, file in rules.items()
    ]
    shards = []
    for shard in plan:
        log, what = f"logs/scan/{run}/{shard.name}.log", f"{run}_{shard.name}"
        part = _progress(shard.name, paths.scan(shard.name), log, what, queue, now)
        shards.append(Progress(part.name, "done", done=shard.tokens) if part.state == "done" else part)
    pages = sum(1 for _ in Path(paths.site).glob(PAGES))
    return RunStatus(run, stages, shards, sum(shard.tokens for shard in plan), pages)


def _progress(name: str, file: str, log: str, what: str, queue: Sequence[QueuedJob] | None, now: float) -> Progress:
    if Path(file).exists():
        return Progress(name, "done")
    rules = (f"scan {what}", f"scan_without_cache {what}", what)
    job = next((job for job in queue or () if job.what in rules), None)
    if job is not None and job.state == "PENDING":
        return Progress(name, "queued", f"job {job.id}")
    last, age = _last_line(Path(log), now)
    if job is None and last is None:
        return Progress(name, "waiting")
    found = _PROGRESS.search(last or "")
    done, rate = (int(found[i].replace(",", "")) for i in (2, 3)) if found else (0, 0)
    note = last or ""
    if job is not None:
        return Progress(name, "running", note, log, done, rate)
    if note.startswith("error:"):
        return Progress(name, "failed", note, log)
    return Progress(name, "running" if age < QUIET else "stopped", note, log, done, rate)


def _last_line(log: Path, now: float) -> tuple[str | None, float]:
    """The error that a log tells of, else its last line; and its age in seconds. None where there is no log."""
    try:
        lines, age = log.read_text(encoding="utf-8", errors="replace").splitlines(), now - log.stat().st_mtime
    except FileNotFoundError:
        return None, 0.0
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or [line for line in lines if line.strip()] or [""])[-1], age


def slurm_log(run: str, shard: str) -> str | None:
    """What SLURM wrote of the last job of a shard: the place to look where a job was killed."""
    found = list(Path("logs/slurm").glob(f"rule_scan*/{run}_{shard}/*.log"))
    return str(max(found, key=lambda path: path.stat().st_mtime)) if found else None


def as_text(status: RunStatus, now: float | None = None) -> str:
    """The status for people: a line for the whole, one for the stages, one for each shard that is neither done nor
    waiting."""
    states = [shard.state for shard in status.shards]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states) if state != "done"]
    lines = []
    if status.shards:
        done = sum(shard.done for shard in status.shards)
        line = f"{status.run}: {states.count('done')} of {len(states)} shards done"
        line += "".join(f", {count}" for count in counts) + f"; {done:,} of {status.tokens:,} tokens"
        if status.rate:
            left = (status.tokens - done) / status.rate
            end = time.strftime("%a %H:%M", time.localtime((time.time() if now is None else now) + left))
            line += f"; {status.rate:,} tokens/s, the scan ends about {end}"
        lines.append(line)
    else:
        lines.append(f"{status.run}: no plan of shards yet")
    stages = ", ".join(f"{part.name} {part.state}" for part in status.stages)
    lines.append(f"  {stages}; {status.pages} pages")
    told = [*(part for part in status.stages if part.state in ("failed", "stopped")), *status.shards]
    for part in told:
        if part.state in ("done", "waiting"):
            continue
        lines.append(f"  {part.name} {part.state}: {part.note}".rstrip(": "))
        if part.state in ("failed", "stopped"):
            lines.append(f"    {part.log}")
            if extra := slurm_log(status.run, part.name):
                lines.append(f"    {extra}")
    return "\n".join(lines)

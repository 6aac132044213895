"""What the workflow does first of all, before Snakemake looks at locks and marks: make good for a start that died."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from gluscope.cluster.damaged import NOTES, remove_noted
from gluscope.cluster.leftovers import keep_finished_files, take_over
from gluscope.cluster.queue import QueuedJob, jobs_in_queue, wait_for_earlier_jobs
from gluscope.core.paths import RESULTS
from gluscope.store.atomic import remove_unfinished

# Calls of Snakemake that run nothing.
_ONLY_LOOK = frozenset(
    [
        "-n",
        "--dry-run",
        "--dryrun",
        "--unlock",
        "-l",
        "--list",
        "--list-rules",
        "--list-target-rules",
        "--lint",
        "--report",
        "--dag",
        "--rulegraph",
        "--filegraph",
        "--d3dag",
        "--summary",
        "-S",
        "--detailed-summary",
        "-D",
        "--archive",
        "--cleanup-metadata",
        "--list-changes",
        "--list-input-changes",
        "--list-params-changes",
        "--list-untracked",
        "--delete-all-output",
        "--containerize",
        "--help",
        "--print-compilation",
        "-v",
        "--version",
    ]
)


_SHORT_DRY_RUN = re.compile("-[kpqFR]*n[kpqFR]*")  # -n, alone or with other letters that take no value


def only_looks(arguments: Sequence[str]) -> bool:
    """Whether a command line of Snakemake asks for something else than running jobs."""
    return any(argument.partition("=")[0] in _ONLY_LOOK or _SHORT_DRY_RUN.fullmatch(argument) for argument in arguments)


def make_good(
    arguments: Sequence[str],
    say: Callable[[str], None],
    state: Path = Path(".snakemake"),
    queue: Callable[[], list[QueuedJob] | None] = jobs_in_queue,
    results: Path = Path(RESULTS),
) -> None:
    """After a start that died: drop its locks, wait for its jobs, keep what they finished, remove the rest.

    After one whose jobs refused a damaged file: remove that. Nothing happens where another start still runs.
    """
    if only_looks(arguments):
        return
    removed = take_over(state)
    if removed:
        say("The last start ended without cleaning up; its locks are removed.")
    if any((state / "locks").glob("*.lock")):
        return
    if any(path.is_file() for path in (state / "incomplete").rglob("*")):
        if wait_for_earlier_jobs(say, queue):
            remove_unfinished(results)
        kept = keep_finished_files(state)
        if kept:
            say(f"Kept {len(kept)} files that jobs of an earlier start finished.")
    for why in remove_noted(state / NOTES.name, results.name):
        say(f"{why}. Removed; it is made anew.")

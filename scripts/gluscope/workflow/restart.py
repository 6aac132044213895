"""What a start does first of all, before Snakemake looks at locks and marks: make good for a start that died."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gluscope.core.paths import RESULTS, STATE
from gluscope.store.atomic import remove_unfinished
from gluscope.workflow.altered import altered
from gluscope.workflow.damaged import NOTES, remove, remove_noted
from gluscope.workflow.marks import FileMarks, Marks
from gluscope.workflow.owners import take_over
from gluscope.workflow.queue import QueuedJob, jobs_in_queue, wait_for_earlier_jobs


def make_good(
    say: Callable[[str], None],
    state: Path = Path(STATE),
    queue: Callable[[], list[QueuedJob] | None] = jobs_in_queue,
    results: Path = Path(RESULTS),
    asked: Sequence[str] = (),
    marks: Marks | None = None,
) -> None:
    """After a start that died: drop its locks, wait for its jobs, keep what they finished, remove the rest.

    After one whose jobs refused a damaged file: remove that, and records and folders that are not whole by now. asked:
    targets, see `altered`. marks: Snakemake's, by default files in `state`. Where another start lives nothing is
    removed.
    """
    marks = marks or FileMarks(state)
    removed, living = take_over(state, marks)
    if removed:
        say("The last start ended without cleaning up; its locks are removed.")
    if marks.locks():
        return
    if marks.unfinished():
        known = wait_for_earlier_jobs(say, queue)
        if living:
            return
        if known:
            remove_unfinished(results)
        kept = keep_finished_files(marks)
        if kept:
            say(f"Kept {len(kept)} files that jobs of an earlier start finished.")
    if not living:
        remove_damaged(say, results, asked, state, marks)


def remove_damaged(
    say: Callable[[str], None],
    results: Path,
    asked: Sequence[str] = (),
    state: Path = Path(STATE),
    marks: Marks | None = None,
) -> None:
    """Remove what jobs refused as damaged, and what is not whole by now; nothing while the folder is locked."""
    if (marks or FileMarks(state)).locks():
        return
    for why in remove_noted(state / NOTES.name, str(results)):
        say(f"{why}. Removed; it is made anew.")
    for store, why in altered(results, asked):
        remove(store)
        say(f"{why}. Removed; it is made anew.")


def keep_finished_files(marks: Marks, folder: Path = Path(), prefix: str = "results/") -> list[str]:
    """Take Snakemake's mark of an incomplete file from every file under `prefix` that is there. Returns their names.

    All files of this workflow appear under their final names whole or not at all, so one that is there is complete.
    Only when no job of an earlier start is left.
    """
    kept = [name for name in marks.unfinished() if name.startswith(prefix) and (folder / name).is_file()]
    for name in kept:
        marks.finish(name)
    return kept

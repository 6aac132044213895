"""What a start does first of all, before Snakemake looks at locks and marks: make good for a start that died."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable, Sequence
from pathlib import Path

from gluscope.core.paths import RESULTS, STATE
from gluscope.store.atomic import remove_unfinished
from gluscope.workflow.altered import altered
from gluscope.workflow.damaged import NOTES, remove, remove_noted
from gluscope.workflow.owners import take_over
from gluscope.workflow.queue import QueuedJob, jobs_in_queue, wait_for_earlier_jobs


def make_good(
    say: Callable[[str], None],
    state: Path = Path(STATE),
    queue: Callable[[], list[QueuedJob] | None] = jobs_in_queue,
    results: Path = Path(RESULTS),
    asked: Sequence[str] = (),
) -> None:
    """After a start that died: drop its locks, wait for its jobs, keep what they finished, remove the rest.

    After one whose jobs refused a damaged file: remove that, and records and folders that are not whole by now. asked:
    targets, see `altered`. Where another start lives nothing is removed.
    """
    removed, living = take_over(state)
    if removed:
        say("The last start ended without cleaning up; its locks are removed.")
    if any((state / "locks").glob("*.lock")):
        return
    if any(path.is_file() for path in (state / "incomplete").rglob("*")):
        known = wait_for_earlier_jobs(say, queue)
        if living:
            return
        if known:
            remove_unfinished(results)
        kept = keep_finished_files(state)
        if kept:
            say(f"Kept {len(kept)} files that jobs of an earlier start finished.")
    if not living:
        remove_damaged(say, results, asked, state)


def remove_damaged(
    say: Callable[[str], None], results: Path, asked: Sequence[str] = (), state: Path = Path(STATE)
) -> None:
    """Remove what jobs refused as damaged, and what is not whole by now; nothing while the folder is locked."""
    if any((state / "locks").glob("*.lock")):
        return
    for why in remove_noted(state / NOTES.name, str(results)):
        say(f"{why}. Removed; it is made anew.")
    for store, why in altered(results, asked):
        remove(store)
        say(f"{why}. Removed; it is made anew.")


def keep_finished_files(state: Path, folder: Path = Path(), prefix: str = "results/") -> list[str]:
    """Take Snakemake's mark of an incomplete file from every file under `prefix` that is there. Returns their names.

    All files of this workflow appear under their final names whole or not at all, so one that is there is complete.
    Only when no job of an earlier start is left.
    """
    marks = state / "incomplete"
    kept = []
    for mark in [path for path in marks.rglob("*") if path.is_file()]:
        # Long names are cut into folders that start with "@".
        encoded = "".join(part.removeprefix("@") for part in mark.relative_to(marks).parts)
        try:
            name = urlsafe_b64decode(encoded).decode()
        except ValueError:
            continue
        if name.startswith(prefix) and (folder / name).is_file():
            mark.unlink(missing_ok=True)
            kept.append(name)
    return sorted(kept)

"""What the workflow does first of all, before Snakemake looks at locks and marks: make good for a start that died."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gluscope.cluster.altered import altered
from gluscope.cluster.damaged import NOTES, remove, remove_noted
from gluscope.cluster.leftovers import keep_finished_files
from gluscope.cluster.owners import forget_other_hosts, take_over
from gluscope.cluster.queue import QueuedJob, jobs_in_queue, wait_for_earlier_jobs
from gluscope.core.paths import RESULTS
from gluscope.store.atomic import remove_unfinished


def when_planned(workflow: Any, look: Callable[[], None]) -> None:
    """Have `look` called when Snakemake knows the jobs of a plan and not yet which of them have to run."""
    prepare_dag = workflow._prepare_dag

    def prepared(*rest: Any, **others: Any) -> Any:
        done = prepare_dag(*rest, **others)
        check = workflow.dag.check_incomplete  # where Snakemake itself finds files that have to be made again

        async def checked() -> None:
            await check()
            look()

        workflow.dag.check_incomplete = checked
        return done

    workflow._prepare_dag = prepared


def when_unlocked(workflow: Any, state: Path = Path(".snakemake")) -> None:
    """With --unlock the user says that no start lives, on other hosts neither."""
    unlock = workflow.unlock

    def unlocked() -> Any:
        forget_other_hosts(state)
        return unlock()

    workflow.unlock = unlocked


def keep_outputs(workflow: Any) -> None:
    """In a job: have Snakemake leave the outputs of a job that fails.

    By then a later job of another start may have made them. Whoever sent the job removes what it left, if it lives.
    """
    execute = workflow.execute

    def kept(*rest: Any, **others: Any) -> Any:
        workflow.execution_settings.keep_incomplete = True
        return execute(*rest, **others)

    workflow.execute = kept


def before_jobs(workflow: Any, prepare: Callable[[], None]) -> None:
    """Have `prepare` called when Snakemake is about to run jobs, before it looks at any file, lock or mark.

    workflow: Snakemake's, while it reads the Snakefile. It knows what the command line, a profile or a program asked
    for when it calls `workflow.execute`, and for calls that only look (lists, reports, summaries, --unlock) it does not
    call that at all. A dry run and --touch have executors that say what they are.
    """
    execute = workflow.execute

    def prepared(executor_plugin: Any, *rest: Any, **others: Any) -> Any:
        kind = executor_plugin.common_settings
        if not (kind.dryrun_exec or kind.touch_exec):
            prepare()
        return execute(executor_plugin, *rest, **others)

    workflow.execute = prepared


def when_targets_known(workflow: Any, look: Callable[[], None]) -> None:
    """Have `look` called when Snakemake knows its targets and all rules, also in a dry run, before it plans."""
    execute = workflow.execute

    def looked(*rest: Any, **others: Any) -> Any:
        look()
        return execute(*rest, **others)

    workflow.execute = looked


def made_by_some(workflow: Any, target: str) -> bool:
    """Whether a target is the name of a rule, or a file that one makes."""
    return any(target == rule.name or rule.is_producer(target) for rule in workflow.rules)


def after_jobs(workflow: Any, done: Callable[[bool], None]) -> None:
    """Have `done(all went well)` called when a start that ran jobs, or found none to run, ends."""
    execute = workflow.execute

    def finished(executor_plugin: Any, *rest: Any, **others: Any) -> Any:
        kind, well = executor_plugin.common_settings, False
        try:
            result = execute(executor_plugin, *rest, **others)
            well = True
            return result
        finally:
            if not (kind.dryrun_exec or kind.touch_exec):
                done(well)

    workflow.execute = finished


def make_good(
    say: Callable[[str], None],
    state: Path = Path(".snakemake"),
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
    if living:
        return
    for why in remove_noted(state / NOTES.name, results.name):
        say(f"{why}. Removed; it is made anew.")
    for store, why in altered(results, asked):
        remove(store)
        say(f"{why}. Removed; it is made anew.")

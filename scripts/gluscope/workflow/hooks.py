"""Where in Snakemake, which has no hooks for it, a start of ours is told that something is about to happen.

`workflow` is Snakemake's own, while it reads the Snakefile.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gluscope.core.paths import STATE
from gluscope.workflow.owners import forget_other_hosts


def around_jobs(
    workflow: Any, look: Callable[[], None], prepare: Callable[[], None], done: Callable[[bool], None]
) -> None:
    """Have `look` called when targets and rules are known, `prepare` before jobs run, and `done(all went well)` after.

    `prepare` comes before Snakemake looks at any file, lock or mark. `workflow.execute` is called when it is known what
    the command line, a profile or a program asked for, and not at all for calls that only look (lists, reports,
    summaries, --unlock). A dry run and --touch have executors that say what they are; for them there is `look` alone.
    """
    execute = workflow.execute

    def around(executor_plugin: Any, *rest: Any, **others: Any) -> Any:
        look()
        kind, well = executor_plugin.common_settings, False
        if kind.dryrun_exec or kind.touch_exec:
            return execute(executor_plugin, *rest, **others)
        try:
            prepare()
            result = execute(executor_plugin, *rest, **others)
            well = True
            return result
        finally:
            done(well)

    workflow.execute = around


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


def when_unlocked(workflow: Any, state: Path = Path(STATE)) -> None:
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


def scripts_find(folder: Path) -> None:
    """Have rule scripts find the library here: from a git host Snakemake reads each script to a place of its own."""
    before = filter(None, [os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join([f"{folder}/scripts", *before])

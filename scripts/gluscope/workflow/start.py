"""What a start of Snakemake does beside running jobs: it makes good, looks into files, and leaves things in order.

`rules/common.smk` makes a `Start` and hooks it in; `hooks.py` says where in Snakemake.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gluscope.core.errors import GluscopeError
from gluscope.core.paths import STATE, RunPaths, results_in
from gluscope.workflow import watchdog
from gluscope.workflow.altered import unlike_list
from gluscope.workflow.as_asked import lines, made_otherwise
from gluscope.workflow.flow import Flow
from gluscope.workflow.forecast import announce
from gluscope.workflow.hooks import around_jobs, when_planned, when_unlocked
from gluscope.workflow.marks import marks_of
from gluscope.workflow.restart import make_good, remove_damaged
from gluscope.workflow.submitted import own_config, write_submitted
from gluscope.workflow.targets import refuse_wrong, site_runs, to_open
from gluscope.workflow.why import again

# Stages whose output is one of several files that a list beside them names.
_WITH_LIST = frozenset(
    {"site_index", "export_hf", "export_gluscope_site", "export_neuronpedia", "export_explainers", "export_neurons"}
)
_ALONE = frozenset({"index.html", "neurons.parquet"})  # outputs that a list names by themselves, not by their folder


@dataclass(frozen=True)
class Start:
    """workflow: Snakemake's, in the process that was started. flow: ours. config: as read. own: the user's files of it.

    alone: whether the Snakefile is ours; where ours is a module of another one, locks, marks and jobs that an
    earlier start left are not ours to judge, nor are targets and the config of jobs.
    """

    workflow: Any
    flow: Flow
    config: Mapping[str, Any]
    own: Sequence[str]
    alone: bool

    def hook_in(self) -> None:
        self.flow.make_again = self.make_again
        when_planned(self.workflow, self.look_into_files)
        if self.alone:
            around_jobs(self.workflow, self.look_at_targets, self.make_good, self.leave_in_order)
            when_unlocked(self.workflow)
        else:
            around_jobs(self.workflow, lambda: None, self.remove_damaged, self.leave_in_order)

    def make_again(self, files: Sequence[str]) -> None:
        """Have files made again that are there, as `--forcerun` has it."""
        if self.workflow.dag is not None:
            self.workflow.dag.forcefiles.update(files)

    def make_good(self) -> None:
        """After a start that died. Jobs get the config as it is now, however late they begin."""
        make_good(_say, asked=self._targets(), marks=marks_of(self.workflow))
        watchdog.install()
        submitted = write_submitted(self.config, self.own, Path(STATE))
        self.workflow.config_settings.configfiles = [submitted]

    def remove_damaged(self) -> None:
        results, marks = Path(self.flow.results), marks_of(self.workflow)
        remove_damaged(_say, results, asked=self._targets(), marks=marks)

    def look_at_targets(self) -> None:
        """End with one line for a target of the wrong shape."""
        with _one_line():
            refuse_wrong(
                self.workflow.dag_settings.targets,
                lambda target: any(rule.name == target or rule.is_producer(target) for rule in self.workflow.rules),
                self.flow.config,
            )

    def look_into_files(self) -> None:
        """Have made again what was made with other settings than those of now, or is not what its list says."""
        if "params" not in map(str, self.workflow.rerun_triggers):
            return
        dag, records = self.workflow.dag, self.workflow.persistence
        jobs = {job: stage for job in dag.jobs if (stage := self._stage(job))}
        # Of these Snakemake says by its own record that they run, and why.
        known = {job for job in jobs if records.params_changed(job)}
        with results_in(self.flow.results):
            found = [
                other
                for job, stage in jobs.items()
                if not known & {job, *dag.dependencies[job]}
                for other in made_otherwise(self.flow, stage, job.wildcards_dict, records.has_metadata(job))
            ]
        self.make_again([other.file for other in found])
        for line in lines(found):
            _say(line)
        for job, stage in jobs.items():
            if stage in _WITH_LIST and (why := unlike_list(_listed(job.output[0]))):
                self.make_again(job.output)
                _say(f"{why}: it is made again.")

    def announce(self) -> None:
        """Say what is made again and why, and what the jobs that are due will take.

        Ends with one line where that is more than they may.
        """
        with _one_line():
            for line in again(self.workflow.dag, self.workflow.persistence):
                _say(line)
            due = [(self._stage(job), job.wildcards_dict) for job in self.workflow.dag.needrun_jobs()]
            announce(self.flow, due, _say)

    def leave_in_order(self, well: bool) -> None:
        """Have start pages list the pages that exist now, and say what there is to look at."""
        with results_in(self.flow.results):
            if runs := site_runs(self.flow.config.runs):
                from gluscope.page.refresh import refresh_indexes  # not for planning: it imports numpy and Jinja2

                for line in refresh_indexes(runs, own_config(self.own)):
                    _say(line)
            sites = [RunPaths(run).index for run in self.flow.config.all] if self.alone else []
            if well and (line := to_open(self._targets(), sites)):
                _say(line)

    def _targets(self) -> list[str]:
        return sorted(self.workflow.dag_settings.targets)

    def _stage(self, job: Any) -> str:
        """The stage that a job of ours does, named like its script; empty for others, and for another workflow's."""
        ours = job.rule.script and job.rule.module_globals.get("flow") is self.flow
        return Path(str(job.rule.script)).stem if ours else ""


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except GluscopeError as error:
        sys.exit(f"error: {error}")


def _listed(output: str) -> Path:
    """What a list is of, as `unlike_list` takes it."""
    path = Path(output)
    return path if path.name in _ALONE else path.parent


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

"""What a start of Snakemake does beside running jobs: it makes good, looks into files, and leaves things in order.

`rules/common.smk` makes a `Start` and hooks it in; `hooks.py` says where in Snakemake.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gluscope.core.errors import GluscopeError
from gluscope.core.paths import STATE, RunPaths
from gluscope.workflow import watchdog
from gluscope.workflow.altered import unlike_list
from gluscope.workflow.as_asked import lines, made_otherwise
from gluscope.workflow.flow import Flow
from gluscope.workflow.forecast import announce
from gluscope.workflow.hooks import around_jobs, when_planned, when_unlocked
from gluscope.workflow.restart import make_good
from gluscope.workflow.submitted import own_config, write_submitted
from gluscope.workflow.targets import refuse_wrong, site_runs, to_open

# Rules whose output is one of several files that a list beside them names.
_WITH_LIST = frozenset({"site_index", "export_hf", "export_gluscope_site", "export_neuronpedia", "export_neurons"})
_ALONE = frozenset({"index.html", "neurons.parquet"})  # outputs that a list names by themselves, not by their folder


@dataclass(frozen=True)
class Start:
    """workflow: Snakemake's, in the process that was started. flow: ours. as_read: the config without what we add."""

    workflow: Any
    flow: Flow
    config: Mapping[str, Any]
    as_read: Mapping[str, Any]

    def hook_in(self) -> None:
        around_jobs(self.workflow, self.look_at_targets, self.make_good, self.leave_in_order)
        when_planned(self.workflow, self.look_into_files)
        when_unlocked(self.workflow)

    def make_good(self) -> None:
        """After a start that died. Jobs get the config as it is now, however late they begin."""
        make_good(_say, asked=sorted(self.workflow.dag_settings.targets))
        watchdog.install()
        submitted = write_submitted(self.as_read, self.config["configfiles"], Path(STATE))
        self.workflow.config_settings.configfiles = [submitted]

    def look_at_targets(self) -> None:
        """End with one line for a target of the wrong shape."""
        try:
            refuse_wrong(
                self.workflow.dag_settings.targets,
                lambda target: any(rule.name == target or rule.is_producer(target) for rule in self.workflow.rules),
                self.flow.config,
            )
        except GluscopeError as error:
            sys.exit(f"error: {error}")

    def look_into_files(self) -> None:
        """Have made again what was made with other settings than those of now, or is not what its list says."""
        if "params" not in map(str, self.workflow.rerun_triggers):
            return
        dag, recorded = self.workflow.dag, self.workflow.persistence.has_metadata
        # Of these Snakemake says by its own record that they run, and why.
        known = {job for job in dag.jobs if self.workflow.persistence.params_changed(job)}
        found = [
            other
            for job in dag.jobs
            if not known & {job, *dag.dependencies[job]}
            for other in made_otherwise(self.flow, job.rule.name, job.wildcards_dict, recorded(job))
        ]
        dag.forcefiles.update(other.file for other in found)
        for line in lines(found):
            _say(line)
        for job in dag.jobs:
            if job.rule.name in _WITH_LIST and (why := unlike_list(_listed(job.output[0]))):
                dag.forcefiles.update(job.output)
                _say(f"{why}: it is made again.")

    def announce(self) -> None:
        """Say what the jobs that are due will take; end with one line where that is more than they may."""
        due = [(job.rule.name, job.wildcards_dict) for job in self.workflow.dag.needrun_jobs()]
        try:
            announce(self.flow, due, _say)
        except GluscopeError as error:
            sys.exit(f"error: {error}")

    def leave_in_order(self, well: bool) -> None:
        """Have start pages list the pages that exist now, and say what there is to look at."""
        if runs := site_runs(self.flow.config.runs):
            from gluscope.page.refresh import refresh_indexes  # not for planning: it imports numpy and Jinja2

            for line in refresh_indexes(runs, own_config(self.config)):
                _say(line)
        sites: Sequence[str] = [RunPaths(run).index for run in self.flow.config.all]
        line = to_open(sorted(self.workflow.dag_settings.targets), sites) if well else ""
        if line:
            _say(line)


def _listed(output: str) -> Path:
    """What a list is of, as `unlike_list` takes it."""
    path = Path(output)
    return path if path.name in _ALONE else path.parent


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

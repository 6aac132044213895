"""Targets of the command line: the right name for one of the wrong shape, and what there is to look at afterwards."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gluscope.config.keys import ConfigFile
from gluscope.core.errors import ConfigError
from gluscope.core.neuron import NEURON, NeuronId
from gluscope.core.paths import RESULTS, DatasetPaths, RunPaths, results

_NEURON = re.compile(r"L(\d+)/(?:E(S\d*|\d+)/)?N(\d+)(?:\.html)?")
_SITE = rf"/([^/]+)/site/(?:index|{NEURON})\.html"  # below the results


def refuse_wrong(targets: Iterable[str], makes: Callable[[str], bool], config: ConfigFile) -> None:
    """Raise ConfigError with the nearest right target for one that no rule makes. makes: whether a rule does."""
    for target in targets:
        if not makes(target) and not Path(target).is_file():
            found = "a folder" if Path(target).is_dir() else "a name that no rule has"
            step = f"write {nearest_target(target, config)}"
            raise ConfigError(target, "a file that the workflow makes, or a rule", found, step)


def nearest_target(target: str, config: ConfigFile) -> str:
    """What a target of the wrong shape most likely means: the file of a run, a data set, a neuron's page."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    parts = parts[1:] if parts[:1] == [RESULTS] else parts
    run, rest = (parts[0], parts[1:]) if parts and parts[0] in config.runs else (_usual_run(config), parts)
    within = "/".join(rest[1:] if rest[:1] == ["site"] else rest)
    if neuron := _NEURON.fullmatch(within):
        expert = re.sub(r"\d+", lambda number: str(int(number[0])), f"E{neuron[2]}") if neuron[2] else ""
        return RunPaths(run).page(NeuronId(int(neuron[1]), int(neuron[3]), expert))
    if not within:
        return RunPaths(run).index
    names = [part for part in parts if part != "datasets"]
    if names and names[0] in config.datasets:
        return DatasetPaths(names[0]).tokens
    known = _files(RunPaths(run))
    wanted = f"{RunPaths(run).root}/{within}"
    inside = [file for file in known if file.startswith(f"{wanted}/")]
    return (inside or difflib.get_close_matches(wanted, known, n=1, cutoff=0) or known)[0]


def to_open(targets: Sequence[str], sites: Sequence[str]) -> str:
    """What to look at after these targets, a sentence; empty if there is nothing. sites: of the default target."""
    asked = [target for target in targets if _in_site(target)]
    if not targets or "all" in targets:
        asked += sites
    files = list(dict.fromkeys(asked))
    if len(files) > 1:
        files = list(dict.fromkeys(RunPaths(found[1]).index for file in files if (found := _in_site(file))))
    return f"Open {' and '.join(files)} in a browser." if files else ""


def _in_site(file: str) -> re.Match[str] | None:
    return re.fullmatch(results() + _SITE, file)


def site_runs(runs: Iterable[str]) -> list[str]:
    """Those of the runs that have a site's folder."""
    return [run for run in runs if Path(RunPaths(run).site).is_dir()]


def _usual_run(config: ConfigFile) -> str:
    return next(iter([*config.all, *config.runs]), "RUN")


def _files(paths: RunPaths) -> list[str]:
    """The files of a run that stand for all of a kind."""
    return [
        paths.index, paths.summary, paths.weights, paths.export_hf, paths.export_site, paths.export_neuronpedia,
        paths.neurons_table, paths.model, paths.plan,
    ]  # fmt: skip

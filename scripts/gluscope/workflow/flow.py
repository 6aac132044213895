"""What the rules ask: inputs, settings and pages of a run. Used while Snakemake plans, so nothing heavy is imported.

A parameter of a question has the name of the wildcard that it is asked with: see `asking`.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from gluscope.config.keys import DatasetConfig, RunConfig
from gluscope.core.errors import ConfigError, GluscopeError
from gluscope.core.paths import RunPaths, results_in
from gluscope.stages.lock import digest_of
from gluscope.stages.table import STAGES
from gluscope.workflow.asked.explanations import Explanations
from gluscope.workflow.forecast import Asked


class Flow(Explanations):
    """The config, and what follows from it: settings and versions of stages, on top of the questions of `asked/`."""

    def reference_of(self, run: str, reference: str) -> str:
        """The summary of the run that another is compared with. Raises ConfigError unless they have one data set."""
        names = [self.dataset_of(name).name for name in (reference, run)]
        if names[0] != names[1]:
            where, step = RunPaths(run).compared(reference), "name runs with the same `dataset`"
            raise ConfigError(where, f"data set {names[0]!r}, that of {reference}", repr(names[1]), step)
        return RunPaths(reference).summary

    def side_by_side(self, run: str, reference: str, neuron: str, other: str = "") -> dict[str, Any]:
        """What the page of two neurons is made from: files of the one, and with `other_` of the other."""
        self.reference_of(run, reference)
        found: dict[str, Any] = {}
        for name, which, prefix in ((run, neuron, ""), (reference, other or neuron, "other_")):
            paths = RunPaths(name)
            found |= {
                f"{prefix}neuron": paths.neuron(which),
                f"{prefix}summary": self.summary_of_neuron(name, which),
                f"{prefix}weights": paths.weights,
                f"{prefix}model": paths.model,
                f"{prefix}tokens": self.tokens(name),
                f"{prefix}tokenizer": self.tokenizer_of_pages(name),
            }
        return found

    def settings(self, stage: str, name: str) -> dict[str, Any]:
        """The keys that a stage depends on, of the run or data set `name`, with what they stand for."""
        about = STAGES[stage]
        entry: RunConfig | DatasetConfig = self.run(name) if about.of == "run" else self.dataset(name)
        stands_for: dict[str, Callable[[str], Any]] = {
            "model": self.model, "activations": self.activations,
            "sampled_activations": self.sampled_activations, "neurons": self.listed_ranges,
            "source": self.source, "tokenizer": self.tokenizer, "descriptions": self.descriptions,
            "explain": self.explained_by,
        }  # fmt: skip
        found = {key: stands_for[key](name) if key in stands_for else getattr(entry, key) for key in about.keys}
        if isinstance(entry, DatasetConfig) and entry.messages_column is None:
            found = {key: value for key, value in found.items() if key not in ("messages_column", "template_kwargs")}
        if isinstance(entry, RunConfig):
            if "pages_from" in found:
                found["pages_from"] = entry.pages_source
            if not entry.cache:
                found.pop("cache_dtype", None)
            for key in ("sampled_activations", "descriptions"):
                if getattr(entry, key) is None:
                    found.pop(key, None)
        return found

    def version(self, stage: str, run: str | None = None) -> dict[str, str]:
        """The versions of what a stage computes with; with `every_edit`, each with a digest of its code.

        What is for GPUs alone is named from its second version on, so that a run that only moves to a CPU, or to a GPU,
        is none that has to be made again.
        """
        parts, on_gpu = [stage], STAGES[stage].on_gpu
        if on_gpu and not (run and self.run(run).device == "cpu"):
            parts += [on_gpu] if self.config.every_edit or STAGES[on_gpu].version > 1 else []
        digest = {part: f" {digest_of(part, self.folder)}" if self.config.every_edit else "" for part in parts}
        return {part: f"{STAGES[part].version}{digest[part]}" for part in parts}

    def scanned_with(self, run: str) -> dict[str, Any]:
        """What the statistics of every shard of a run must have been made with."""
        settings = self.settings("scan", run)
        settings.pop("cache_dtype", None)
        return {**settings, "stages": self.version("scan", run)}

    def asked_of(self, run: str) -> Asked:
        """What decides how much a run takes."""
        keys, data = self.run(run), self.dataset_of(run)
        same = {
            key: getattr(keys, key)
            for key in ("revision", "k", "samples", "cache", "dtype", "tf32", "device", "disk_limit_gb", "go_on")
        }
        return Asked(
            run=run,
            model=self.model(run),
            pages=keys.pages_source,
            patterns=keys.neurons,
            max_length=data.max_length,
            max_tokens=data.max_tokens,
            **same,
        )

    def costs(self) -> dict[str, dict[str, Any]]:
        """The same of all runs as plain values, for the job that plans their shards."""
        found = {}
        for run in self.config.runs:
            with results_in(self.results), contextlib.suppress(ConfigError):  # a run that nobody may have asked for
                found[run] = asdict(self.asked_of(run))
        return found

    def sites(self) -> list[str]:
        """Sites of the runs under `all:`, with their pages: Snakemake misses only what a target names itself."""
        runs = self.config.all
        return [RunPaths(run).index for run in runs] + [file for run in runs for file in self.page_files(run)]


def asking(question: Callable[..., Any], **known: Any) -> Callable[[Any], Any]:
    """A question of a Flow as a function of a job's wildcards: its parameters are wildcards of their names, or `known`.

    `name` is the run, or else the data set, that the job's files belong to. What the config or a target gets wrong
    ends the process with one line.
    """
    names = [name for name in inspect.signature(question).parameters if name not in known]

    def answer(wildcards: Any) -> Any:
        given = {name: wildcards.get(name) for name in names}
        if "name" in given:
            given["name"] = wildcards.get("run") or wildcards.dataset
        try:
            with results_in(question.__self__.results):  # type: ignore[attr-defined]
                return question(**given, **known)
        except GluscopeError as error:
            sys.exit(f"error: {error}")

    return answer

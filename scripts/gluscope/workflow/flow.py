"""What the rules ask: inputs, settings and pages of a run. Used while Snakemake plans, so nothing heavy is imported.

A parameter of a question has the name of the wildcard that it is asked with: see `asking`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gluscope.config import places
from gluscope.config.check import nearest
from gluscope.config.keys import DatasetConfig, RunConfig
from gluscope.config.load import load_config, unknown_run
from gluscope.config.neurons import Batch, Pages, in_batch, listed_neurons, share_out, stretches
from gluscope.core.errors import ConfigError, GluscopeError, ShardMismatch, StoreError
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import PAGES, RESULTS, DatasetPaths, RunPaths, results_in, shard_name
from gluscope.core.ranges import as_ranges
from gluscope.core.size import Size, refuse_effects
from gluscope.dataset.files import has_template, inputs, inside, no_template, no_tokenizer
from gluscope.dataset.plan import Plan
from gluscope.model.files import peek
from gluscope.model.spec import ModelSpec
from gluscope.stages.lock import digest_of
from gluscope.stages.table import STAGES
from gluscope.workflow.forecast import Asked


class Flow:
    """The config, and what follows from it.

    folder: where the Snakefile lies. results: where results do. make_again: told of files that are there and have to be
    made again all the same.
    """

    def __init__(self, raw: Mapping[str, Any], folder: Path, results: str = RESULTS) -> None:
        with results_in(results):
            self.config = load_config(raw)
        self.folder, self.results = folder, results
        self.make_again: Callable[[list[str]], None] = lambda files: None
        # Neurons that were asked for before their model was known, for the job that fetches it to look at.
        self.asked: dict[str, list[str]] = {}
        self._listed: dict[str, dict[int, list[int]]] = {}
        self._pages: dict[str, Pages] = {}

    def run(self, name: str) -> RunConfig:
        """Raises ConfigError for a run that the config does not have."""
        if name not in self.config.runs:
            raise unknown_run(name, self.config, RunPaths(name).root)
        return self.config.runs[name]

    def dataset(self, name: str) -> DatasetConfig:
        """Raises ConfigError for a data set that the config does not have."""
        if name not in self.config.datasets:
            step = nearest(name, self.config.datasets)
            raise ConfigError(DatasetPaths(name).folder, "the name of a data set", repr(name), step)
        return self.config.datasets[name]

    def dataset_of(self, run: str) -> DatasetConfig:
        return self.config.datasets[self.run(run).dataset]

    def runs_with(self, condition: Callable[[RunConfig], bool]) -> tuple[str, str]:
        """Patterns of the names of all runs for which `condition` holds, and of all other names."""
        found = "|".join(re.escape(run.name) for run in self.config.runs.values() if condition(run)) or "(?!)"
        return found, rf"(?!({found})/)[^/]+"

    def device(self, run: str) -> str:
        return self.run(run).device

    def gpus(self, run: str) -> int:
        """How many GPUs a job of the run's model takes."""
        return int(self.run(run).device != "cpu")

    def batch_tokens(self, run: str) -> int:
        return self.run(run).batch_tokens

    def tokens(self, run: str) -> str:
        """The file that stands for a run's token data set."""
        return self.dataset_of(run).paths.tokens

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

    def model(self, run: str) -> str:
        """The folder of a run's model, or its hub id. Raises ConfigError for a file."""
        model, where = self.run(run).model, f"config: runs: {run}: model"
        place = places.locate(model, where, self.folder)
        if place and os.path.isfile(place):
            step = "name the folder that it lies in; for a GGUF file, the model that it was made from"
            raise ConfigError(where, "a model's folder (config.json and safetensors files)", f"the file {place}", step)
        return place or model

    def model_files(self, run: str) -> list[str]:
        """Files of a local model; none for a hub id."""
        place = places.locate(self.run(run).model, f"config: runs: {run}: model", self.folder)
        return places.model_files(place) if place else []

    def stamp_of_model(self, run: str) -> str:
        return places.stamp(self.model_files(run))

    def stamp_of_source(self, dataset: str) -> str:
        return places.stamp(self.source_files(dataset))

    def stamp_of_texts(self, dataset: str) -> str:
        """The same of source and tokenizer."""
        return places.stamp(self.source_files(dataset) + self.tokenizer_files(dataset))

    def source(self, dataset: str) -> str:
        """The file or folder of a data set's texts, or its hub id."""
        return self._place(dataset, "source") or self.dataset(dataset).source

    def tokenizer(self, dataset: str) -> str | None:
        """The folder of a data set's tokenizer, or its hub id, or None."""
        return self._place(dataset, "tokenizer") or self.dataset(dataset).tokenizer

    def source_files(self, dataset: str) -> list[str]:
        """Files of a local source; none for a hub id. Raises DatasetError for what cannot be read."""
        place = self._place(dataset, "source")
        return inputs(place) if place else []

    def tokenizer_files(self, dataset: str) -> list[str]:
        """Files of a local tokenizer. Raises DatasetError for one that has no template for chats."""
        place, chat = self._place(dataset, "tokenizer"), self.dataset(dataset).messages_column is not None
        if place and chat and not has_template(place):
            raise no_template(place)
        return places.tokenizer_files(place, chat) if place else []

    def tokenizer_of_pages(self, run: str) -> list[str]:
        """The model's own tokenizer, where a run's texts came as tokens; none if the data set has one.

        Raises DatasetError for a local model without: pages could not show their texts. (A hub model is looked at when
        it is fetched.)
        """
        if self.dataset_of(run).tokenizer is not None:
            return []
        place = places.locate(self.run(run).model, f"config: runs: {run}: model", self.folder)
        if place is None or (file := Path(place) / "tokenizer.json").is_file():
            return [] if place is None else [str(file)]
        raise no_tokenizer(self.dataset_of(run).name, place)

    def fetched(self, dataset: str) -> list[str]:
        """The file that says what was fetched for a data set; none if nothing has to be."""
        keys = self.dataset(dataset)
        remote = [key for key in ("source", "tokenizer") if getattr(keys, key) and not self._place(dataset, key)]
        return [keys.paths.source] if remote else []

    def activations(self, run: str) -> str | None:
        """The file or folder of a run's published activations, or their hub id; None for a run that scans."""
        return self._published(run, "activations")[0]

    def sampled_activations(self, run: str) -> str | None:
        """The same of its published sampled activations; None for a run without."""
        return self._published(run, "sampled_activations")[0]

    def activation_files(self, run: str) -> list[str]:
        """Files that stand for a run's published activations: themselves, or what says where they were fetched to."""
        return self._published_files(run, "activations", RunPaths(run).activations)

    def sampled_files(self, run: str) -> list[str]:
        """The same of its published sampled activations; none for a run without."""
        return self._published_files(run, "sampled_activations", RunPaths(run).sampled_activations)

    def _published(self, run: str, key: str) -> tuple[str | None, bool]:
        """What a run's key names, and whether it is of this machine."""
        named = getattr(self.run(run), key)
        place = named and places.locate(named, f"config: runs: {run}: {key}", self.folder)
        return place or named, place is not None

    def _published_files(self, run: str, key: str, fetched: str) -> list[str]:
        place, here = self._published(run, key)
        if place is None or not here:
            return [fetched] if place else []
        made_here = f"{place}/state.json" in (RunPaths(other).export_hf for other in self.config.runs)
        if made_here or not os.path.exists(place):  # that is yet to be made, or not there
            return [f"{place}/state.json"] if made_here else [place]
        return [str(file) for file in inside(Path(place))]

    def settings(self, stage: str, name: str) -> dict[str, Any]:
        """The keys that a stage depends on, of the run or data set `name`, with what they stand for."""
        about = STAGES[stage]
        entry: RunConfig | DatasetConfig = self.run(name) if about.of == "run" else self.dataset(name)
        stands_for: dict[str, Callable[[str], Any]] = {
            "model": self.model, "activations": self.activations,
            "sampled_activations": self.sampled_activations, "neurons": self.listed_ranges,
            "source": self.source, "tokenizer": self.tokenizer,
        }  # fmt: skip
        found = {key: stands_for[key](name) if key in stands_for else getattr(entry, key) for key in about.keys}
        if isinstance(entry, DatasetConfig) and entry.messages_column is None:
            found = {key: value for key, value in found.items() if key not in ("messages_column", "template_kwargs")}
        if isinstance(entry, RunConfig):
            if "pages_from" in found:
                found["pages_from"] = entry.pages_source
            if not entry.cache:
                found.pop("cache_dtype", None)
            if entry.sampled_activations is None:
                found.pop("sampled_activations", None)
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

    def shards(self, run: str) -> list[str]:
        return [shard_name(index) for index in range(self.run(run).shards)]

    def scans(self, run: str) -> list[str]:
        """What the scan writes, for all shards of a run."""
        return [RunPaths(run).scan(shard) for shard in self.shards(run)]

    def shard(self, run: str, shard: str) -> str:
        """`shard`, if the run has it; raises ConfigError if not."""
        if shard not in self.shards(run):
            expected = f"a shard from 0000 to {self.shards(run)[-1]}"
            raise ConfigError(RunPaths(run).scan(shard), expected, shard, "correct it, or `shards` in your config file")
        return shard

    def is_last(self, run: str, shard: str) -> bool:
        """Whether a shard is the last of its run."""
        return self.shard(run, shard) == self.shards(run)[-1]

    def rows_of_shard(self, run: str, shard: str) -> str:
        """What the run's plan says of the rows of a shard, without their place; empty while there is none."""
        path = RunPaths(run).plan
        try:
            plan = _plan(path, os.stat(path).st_mtime_ns)
            return f"{plan.base} {plan.shard(shard).digest}"
        except (FileNotFoundError, StoreError, ShardMismatch):
            return ""

    @functools.cache  # noqa: B019 - one object for the life of the process
    def size(self, run: str) -> Size | None:
        """Layers and neurons of a run's model; None for a hub model that has not been fetched."""
        described = Path(self.run(run).paths.model)
        found = peek(self.model(run), self.run(run).revision)
        if found is None and described.exists():
            spec = ModelSpec.read(described)
            found = spec.size
        return found

    def neuron(self, run: str, neuron: NeuronId) -> NeuronId:
        """The neuron, if the run's model has it as far as is known; raises ConfigError if not."""
        size, page = self.size(self.run(run).name), RunPaths(run).page(neuron)
        if size is None:
            self.asked.setdefault(run, []).append(page)
        else:
            size.refuse(page, neuron)
            self._refuse_unlisted(run, neuron, size)
        return neuron

    def summary_of_neuron(self, run: str, neuron: str) -> str:
        """The run's summary, after a look whether the model has the neuron."""
        self.neuron(run, NeuronId.parse(neuron))
        return RunPaths(run).summary

    def layer_of(self, neuron: str) -> str:
        """The layer of a neuron, by which a report sorts its pages."""
        return neuron.split("/")[0]

    def _refuse_unlisted(self, run: str, neuron: NeuronId, size: Size) -> None:
        """A replay keeps what the listed neurons' pages show, and nothing else."""
        if self.run(run).pages_source == "replay" and size.place(neuron) not in self.listed(run).get(neuron.layer, ()):
            expected = f"a neuron under `neurons:` of run {run}, whose pages come from a replay"
            where = RunPaths(run).page(neuron)
            raise ConfigError(where, expected, str(neuron), "add it there, or set `pages_from: model`")

    def listed(self, run: str) -> dict[int, list[int]]:
        """Places (`core.size`) of a run's `neurons:`, by layer."""
        if run not in self._listed:
            found = self._listed[run] = listed_neurons(self.run(run), self.size(run))
            if found and self.size(run) is None:
                largest = NeuronId(max(found), max(neurons[-1] for neurons in found.values()))
                self.asked.setdefault(run, []).append(RunPaths(run).page(largest))
        return self._listed[run]

    def listed_ranges(self, run: str) -> dict[str, str]:
        """The same as text."""
        return {str(layer): as_ranges(neurons) for layer, neurons in self.listed(run).items()}

    def neurons_of_batch(self, run: str, layer: str, low: str, high: str) -> str:
        """The listed neurons of a stretch of a layer, as text."""
        return as_ranges(in_batch(self.listed(run), Batch(int(layer), int(low), int(high))))

    def pages(self, run: str) -> Pages:
        """The pages of a run's site, by job."""
        if run not in self._pages:
            self._pages[run] = share_out(self.listed(run), self.size(run))
        return self._pages[run]

    def sites(self) -> list[str]:
        """Sites of the runs under `all:`, with their pages: Snakemake misses only what a target names itself."""
        runs = self.config.all
        return [RunPaths(run).index for run in runs] + [file for run in runs for file in self.page_files(run)]

    def page_files(self, run: str) -> list[str]:
        """Files that stand for the listed pages: the pages, or markers of batches where they are many."""
        self.make_again(self.false_markers(run))
        paths, pages = RunPaths(run), self.pages(run)
        single = [paths.page(neuron) for neuron in pages.single]
        return single + [paths.done("page", batch.layer, batch.low, batch.high) for batch in pages.batches]

    def neuron_files(self, run: str) -> list[str]:
        """Files that stand for the recomputed values of the listed neurons."""
        paths, pages = RunPaths(run), self.pages(run)
        single = [paths.neuron(neuron) for neuron in pages.single]
        return single + [paths.done("recompute", batch.layer, batch.low, batch.high) for batch in pages.wide]

    def recomputed_for(self, run: str, batch: Batch) -> str:
        """The marker of what the pages of a batch are made from."""
        wide = next((wide for wide in self.pages(run).wide if wide.holds(batch)), batch)
        return RunPaths(run).done("recompute", wide.layer, wide.low, wide.high)

    def recomputed_for_batch(self, run: str, layer: str, low: str, high: str) -> str:
        return self.recomputed_for(run, Batch(int(layer), int(low), int(high)))

    def measures(self, run: str) -> bool:
        """Whether a run measures effects. Raises ModelError where its model is known as a mixture of experts."""
        asked = bool(self.run(run).effect)
        size = self.size(run) if asked else None
        if size is not None and any(layer.experts for layer in size.layers):
            refuse_effects(f"`effect` of the run {run}")
        return asked

    def effect_files(self, run: str) -> list[str]:
        """Markers of the measured effects of the listed neurons; none for a run that measures none."""
        batches = stretches(self.listed(run)) if self.measures(run) else []
        return [RunPaths(run).done("effect", batch.layer, batch.low, batch.high) for batch in batches]

    def effect_of_neuron(self, run: str, neuron: str) -> list[str]:
        """What stands for a neuron's measured effect, if the run measures any: of a listed one its batch's marker."""
        if not self.measures(run):
            return []
        own, size = NeuronId.parse(neuron), self.size(run)
        place = size.place(own) if size else own.neuron
        return self.effect_of_batch(run, str(own.layer), str(place), str(place)) or [RunPaths(run).effect(neuron)]

    def effect_of_batch(self, run: str, layer: str, low: str, high: str) -> list[str]:
        """The markers of the measured effects of a batch's listed neurons, if the run measures any."""
        asked = Batch(int(layer), int(low), int(high))
        if not self.measures(run) or not in_batch(self.listed(run), asked):
            return []
        found = [batch for batch in stretches(self.listed(run)) if batch.holds(asked)]
        self.make_again(self.false_effects(run, found))
        return [RunPaths(run).done("effect", batch.layer, batch.low, batch.high) for batch in found]

    def false_effects(self, run: str, batches: list[Batch]) -> list[str]:
        """Markers of batches of which a measured effect has gone."""
        paths, names = RunPaths(run), functools.cache(_names)
        markers = {paths.done("effect", batch.layer, batch.low, batch.high): batch for batch in batches}
        return [
            marker
            for marker, batch in markers.items()
            if os.path.exists(marker)
            and not all(_is_there(paths.effect(neuron), names) for neuron in self.neurons_of(run, batch))
        ]

    def measured_from(self, run: str, neuron: str) -> str:
        """The recomputed values of a neuron whose effect is wanted. Raises ConfigError for a run that measures none."""
        if not self.measures(run):
            where, expected = RunPaths(run).effect(neuron), f"`effect: true` in the run {run}"
            raise ConfigError(where, expected, "false, its default", "set it in your config file")
        self.neuron(run, NeuronId.parse(neuron))
        return RunPaths(run).neuron(neuron)

    def recomputed_for_effects(self, run: str, layer: str, low: str, high: str) -> list[str]:
        """What stands for the recomputed values of a batch's listed neurons."""
        asked = Batch(int(layer), int(low), int(high))
        if self.pages(run).single:
            return [RunPaths(run).neuron(neuron) for neuron in self.neurons_of(run, asked)]
        return [self.recomputed_for(run, asked)]

    def kept_for_pages(self, run: str) -> list[str]:
        """The caches, or replays, of all shards, if the run's pages are computed from them."""
        paths, size = RunPaths(run), self.size(run)
        if size is not None and size.has_experts and self.run(run).pages_source == "replay":
            where, found = f"config: runs: {run}: pages_from", "replay, of a mixture of experts"
            raise ConfigError(where, "cache or model", found, "set `pages_from: model`")
        path_of = {"cache": paths.cache, "replay": paths.replay}.get(self.run(run).pages_source)
        return [path_of(shard) for shard in self.shards(run)] if path_of else []

    def false_markers(self, run: str) -> list[str]:
        """Markers of batches of which a page, or what it is made from, has gone; the start page if a single one has."""
        paths, names = RunPaths(run), functools.cache(_names)
        false = []
        for batch in self.pages(run).batches:
            marker = paths.done("page", batch.layer, batch.low, batch.high)
            if not os.path.exists(marker):
                continue
            gone = [neuron for neuron in self.neurons_of(run, batch) if not _is_there(paths.page(neuron), names)]
            if gone:
                false.append(marker)
                if not all(_is_there(paths.neuron(neuron), names) for neuron in gone):
                    false.append(self.recomputed_for(run, batch))
        single = (paths.page(neuron) for neuron in self.pages(run).single)
        if os.path.exists(paths.index) and not all(map(os.path.exists, single)):
            false.append(paths.index)
        return list(dict.fromkeys(false))

    def unlisted(self, run: str) -> str:
        """Neurons that have a page without being listed, as text; the site's start page shows them as well."""
        size, found = self.size(run), []
        listed = {layer: set(places) for layer, places in self.listed(run).items()}
        for path in Path(RunPaths(run).site).glob(PAGES):
            try:
                neuron = RunPaths(run).parse_page(path.as_posix())
                place = size.place(neuron) if size else neuron.neuron
            except (ValueError, IndexError):
                continue
            if place not in listed.get(neuron.layer, ()):
                found.append(neuron)
        return " ".join(map(str, sorted(found)))

    def neurons_of(self, run: str, batch: Batch) -> Iterator[NeuronId]:
        """The listed neurons of a batch."""
        size = self.size(run)
        for place in in_batch(self.listed(run), batch):
            yield size.neuron(batch.layer, place) if size else NeuronId(batch.layer, place)

    def _place(self, dataset: str, key: str) -> str | None:
        value = getattr(self.dataset(dataset), key)
        return places.locate(value, f"config: datasets: {dataset}: {key}", self.folder) if value else None


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


@functools.lru_cache(maxsize=8)
def _plan(path: str, changed: int) -> Plan:
    """The plan that the file holds since `changed`."""
    return Plan.read(path)


def _is_there(file: str, names: Callable[[str], set[str]]) -> bool:
    folder, _, name = file.rpartition("/")
    return name in names(folder)


def _names(folder: str) -> set[str]:
    """Names of the files in a folder; none where there is no folder."""
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()

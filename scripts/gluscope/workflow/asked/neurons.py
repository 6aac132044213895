"""Neurons of a run's model, and those that the config lists."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gluscope.config.neurons import Batch, in_batch, listed_neurons
from gluscope.core.errors import ConfigError
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RESULTS, RunPaths
from gluscope.core.ranges import as_ranges
from gluscope.core.size import Size
from gluscope.model.files import peek
from gluscope.model.spec import ModelSpec
from gluscope.workflow.asked.inputs import Inputs


class Neurons(Inputs):
    """asked: pages of neurons that were asked for before their model was known, by run, for the job that fetches it."""

    def __init__(self, raw: Mapping[str, Any], folder: Path, results: str = RESULTS) -> None:
        super().__init__(raw, folder, results)
        self.asked: dict[str, list[str]] = {}
        self._listed: dict[str, dict[int, list[int]]] = {}

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

    def neurons_of(self, run: str, batch: Batch) -> Iterator[NeuronId]:
        """The listed neurons of a batch."""
        size = self.size(run)
        for place in in_batch(self.listed(run), batch):
            yield size.neuron(batch.layer, place) if size else NeuronId(batch.layer, place)

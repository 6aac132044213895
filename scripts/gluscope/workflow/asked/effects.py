"""Measured effects of a run's listed neurons."""

from __future__ import annotations

import functools
import os

from gluscope.config.neurons import Batch, in_batch, stretches
from gluscope.core.errors import ConfigError
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.workflow.asked.pages import SitePages, is_there, names_in


class Effects(SitePages):
    """Whether a run measures effects, and the files that stand for them."""

    def measures(self, run: str) -> bool:
        """Whether a run measures effects."""
        return bool(self.run(run).effect)

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
        paths, names = RunPaths(run), functools.cache(names_in)
        markers = {paths.done("effect", batch.layer, batch.low, batch.high): batch for batch in batches}
        return [
            marker
            for marker, batch in markers.items()
            if os.path.exists(marker)
            and not all(is_there(paths.effect(neuron), names) for neuron in self.neurons_of(run, batch))
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

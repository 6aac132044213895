"""The file of weight statistics: a zarr group in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.convention import CONVENTIONS
from gluscope.core.errors import WrongFile
from gluscope.core.provenance import RunProvenance
from gluscope.core.schema import ROUTER_COSINE, WEIGHTS, StoredArray
from gluscope.store.damage import to_redo
from gluscope.store.group import GroupReader, new_group
from gluscope.weights.classes import RW_CLASSES
from gluscope.weights.types import COSINES, QUANTILES, VECTORS, LayerWeights, NeuronWeights, one_neuron

_LABELS: dict[str, list[str]] = {
    "pair": [kind.value for kind in COSINES],
    "vector": [vector.value for vector in VECTORS],
    "end": ["top", "bottom"],
    "convention": list(CONVENTIONS),
    "rw_class_name": [kind.label for kind in RW_CLASSES],
}
_QUANTILE = StoredArray(("quantile",), "float64", "", 0.0, "share of the cosines that are smaller")
_OF_LAYER = [name for name, stored in WEIGHTS.items() if stored.dims[0] == "layer"]
_OF_NEURON = [name for name in _OF_LAYER if WEIGHTS[name].dims[1] == "neuron"]


def write_weights(
    path: str | Path, layers: Sequence[LayerWeights], chance_random: np.ndarray, attributes: dict[str, Any]
) -> None:
    """Write all layers of a model; whole or not at all. path: the group's folder, or the zarr.json in it."""
    with new_group(path, attributes, len(layers)) as group:
        for name in _OF_LAYER:
            for number, layer in enumerate(layers):
                group.add(name, WEIGHTS[name], getattr(layer, name), layer=number)
        for number, layer in enumerate(layers):
            if layer.router_cosine is not None:
                group.add("router_cosine", ROUTER_COSINE, layer.router_cosine, layer=number)
        group.add("chance_random", WEIGHTS["chance_random"], chance_random)
        group.add("quantile", _QUANTILE, np.array(QUANTILES))
        for name, labels in _LABELS.items():
            group.add_labels(name, labels)


class WeightsReader(GroupReader):
    """Stored weight statistics. Every method raises IndexError for a layer or neuron that is not there."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "weight statistics")
        self.n_layers, self.neurons = self.arrays["sign"].shape

    @classmethod
    def of_run(cls, path: str | Path, provenance: RunProvenance) -> WeightsReader:
        """Those of a run; raises WrongFile where they are another model's. provenance: of its summary."""
        reader = cls(path)
        if (found := reader.attributes["model_revision"]) != provenance.model_revision:
            expected = f"model_revision {provenance.model_revision} as in the summary"
            raise to_redo(WrongFile, reader.path, str(reader.path), expected, found)
        return reader

    def neuron(self, layer: int, neuron: int) -> NeuronWeights:
        """The weight statistics of one neuron."""
        self._check(layer, neuron)
        parts = {name: self.part(name, neuron, neuron + 1, layer) for name in [*_OF_NEURON, *self._of_experts]}
        part = LayerWeights(**parts, chance=self.read("chance", layer))
        return one_neuron(part, layer, neuron, self.read("chance_random"))

    def layer(self, layer: int) -> LayerWeights:
        """The weight statistics of one layer."""
        self._check(layer, 0)
        return LayerWeights(**{name: self.read(name, layer) for name in [*_OF_LAYER, *self._of_experts]})

    @property
    def _of_experts(self) -> list[str]:
        return ["router_cosine"] if "router_cosine" in self.arrays else []

    def _check(self, layer: int, neuron: int) -> None:
        if not (0 <= layer < self.n_layers and 0 <= neuron < self.neurons):
            raise IndexError(f"L{layer}/N{neuron} of {self.n_layers} layers of {self.neurons} neurons")

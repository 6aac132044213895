"""The file of a summary: a zarr group, of a shard in one zip file, of a run in a folder. A layer at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.cases import CASES, QUANTITIES
from gluscope.core.errors import StoreError
from gluscope.core.provenance import RunProvenance
from gluscope.core.schema import PER_RUN, ROUTED, SUMMARY
from gluscope.store.damage import MISSING
from gluscope.store.group import GroupReader, new_group
from gluscope.summary.types import SAMPLED, LayerSummary, SampleTokens

_FEW = 16  # neurons that are read one by one


def write_summary(
    path: str | Path,
    layers: Iterable[LayerSummary],
    *,
    n_layers: int,
    sample: SampleTokens,
    attributes: dict[str, Any],
    sign: np.ndarray | None = None,
    routed: np.ndarray | None = None,
) -> None:
    """Write the statistics of `n_layers` layers, which come one at a time. Whole or not at all.

    path: ends in .zip for one file, else a folder (or its zarr.json). sign: int8 [layer, neuron]. attributes: JSON.
    routed: int64 [layer, expert], of a model with mixtures of experts.
    Memory: about two layers. Raises StoreError if the disk is full.
    """
    with new_group(path, attributes, n_layers) as group:
        written = 0
        for summary in layers:
            for name, stored in SUMMARY.items():
                packed = routed is not None and "sample" in stored.dims
                group.add(name, replace(stored, packed=packed), getattr(summary, name), layer=written)
            written += 1
            del summary  # before the next one is made: a wide layer is gigabytes
        if written != n_layers:
            raise ValueError(f"{written} layers given, {n_layers} announced")
        for name, values in (("sample_example", sample.example), ("sample_position", sample.position)):
            group.add(name, PER_RUN[name], values)
        if sign is not None:
            group.add("sign", PER_RUN["sign"], sign, per_chunk=1)
        if routed is not None:
            group.add("routed", ROUTED, routed)
        group.add_labels("case", [case.value for case in CASES])
        group.add_labels("quantity", [quantity.value for quantity in QUANTITIES])


class SummaryReader(GroupReader):
    """A stored summary. provenance: what its attributes say of the run.

    Every method raises IndexError for a layer or neuron that is not there.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "a summary")
        self.n_layers, self.neurons = self.arrays["count"].shape[:2]
        self.provenance = RunProvenance.of(self.attributes, str(self.path))

    def layers(self, samples: bool = True) -> Iterator[LayerSummary]:
        """All layers, one after another; see `layer`."""
        return (self.layer(layer, samples) for layer in range(self.n_layers))

    def layer(self, layer: int, samples: bool = True) -> LayerSummary:
        """The statistics of one layer. samples: whether with gate and in at the sample tokens, which in a wide layer
        take more memory than all else; left out, they are of no tokens."""
        self._check(layer, 0, self.neurons == 0)
        left_out = () if samples else SAMPLED
        found = {name: self.read(name, layer) for name in SUMMARY if name not in left_out}
        return LayerSummary(**found, **{name: np.empty((self.neurons, 0), np.float16) for name in left_out})

    def neuron(self, layer: int, neuron: int) -> LayerSummary:
        """The statistics of one neuron, as a layer of one."""
        self._check(layer, neuron)
        return LayerSummary(**{name: self.part(name, neuron, neuron + 1, layer) for name in SUMMARY})

    def some(self, layer: int, neurons: Sequence[int]) -> dict[int, LayerSummary]:
        """The statistics of some neurons of a layer, each as a layer of one; of many the layer is read as a whole."""
        if len(neurons) <= _FEW:
            return {neuron: self.neuron(layer, neuron) for neuron in neurons}
        whole = self.layer(layer)
        return {neuron: whole.neuron(neuron) for neuron in neurons}

    def sample(self) -> SampleTokens:
        """The tokens of the sample."""
        return SampleTokens(self.read("sample_example"), self.read("sample_position"))

    def sign(self) -> np.ndarray:
        """int8 [layer, neuron]; only a whole run's summary has it."""
        if "sign" not in self.arrays:
            raise StoreError(str(self.path), "the summary of a whole run", "a shard's, without `sign`", MISSING)
        return self.read("sign")

    def routed(self) -> np.ndarray | None:
        """int64 [layer, expert], tokens that the router sent to each; None for a model without experts."""
        return self.read("routed") if "routed" in self.arrays else None

    def _check(self, layer: int, neuron: int, any_neuron: bool = False) -> None:
        if not (0 <= layer < self.n_layers and (any_neuron or 0 <= neuron < self.neurons)):
            raise IndexError(f"L{layer}/N{neuron} of {self.n_layers} layers of {self.neurons} neurons")

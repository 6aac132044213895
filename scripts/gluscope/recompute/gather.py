"""Values that arrive text by text, gathered neuron by neuron."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gluscope.core.neuron import is_routed
from gluscope.model.rows import WeightRows
from gluscope.recompute.types import Recomputed, Source

Wanted = Mapping[int, np.ndarray]  # the rows of each neuron's texts


class Gather:
    """The results of some neurons of one layer, filled text by text in any order.

    by_row: for each text the neurons that want it.
    """

    def __init__(self, weights: WeightRows, layer: int, wanted: Wanted) -> None:
        self._weights, self._layer = weights, layer
        self._rows = {neuron: np.unique(np.asarray(rows, np.int64)) for neuron, rows in wanted.items()}
        self.by_row: dict[int, list[int]] = {}
        for neuron, rows in self._rows.items():
            for row in rows.tolist():
                self.by_row.setdefault(row, []).append(neuron)
        self._longest = dict.fromkeys(wanted, 0.0)

    def set_lengths(self, length: Mapping[int, int]) -> None:
        """Tokens of each text of `by_row`; before the first `put`."""
        self._lengths, self._starts, self._values = {}, {}, {}
        for neuron, rows in self._rows.items():
            lengths = np.array([length[row] for row in rows.tolist()], np.int64)
            self._lengths[neuron] = lengths
            self._starts[neuron] = dict(zip(rows.tolist(), (np.cumsum(lengths) - lengths).tolist(), strict=True))
            self._values[neuron] = np.full((3, int(lengths.sum())), np.nan, np.float32)

    def put(self, row: int, gate: np.ndarray, in_: np.ndarray, longest: float) -> None:
        """One text's values, [token, neuron] for the neurons `by_row[row]`; longest: the largest |x| in it."""
        for i, neuron in enumerate(self.by_row[row]):
            self.put_one(row, neuron, gate[:, i], in_[:, i], longest)

    def put_one(
        self,
        row: int,
        neuron: int,
        gate: np.ndarray,
        in_: np.ndarray,
        longest: float,
        weight: np.ndarray | None = None,
    ) -> None:
        """One text's values of one neuron, [token]. weight: of a routed expert, see Recomputed."""
        part = slice(start := self._starts[neuron][row], start + len(gate))
        self._values[neuron][0, part], self._values[neuron][1, part] = gate, in_
        if weight is not None:
            self._values[neuron][2, part] = weight
        self._longest[neuron] = max(self._longest[neuron], longest)

    def results(self, source: Source, dtype: str) -> dict[int, Recomputed]:
        """By neuron; every text must have been put. dtype: see Recomputed."""
        return {neuron: self._result(neuron, source, dtype) for neuron in self._rows}

    def _result(self, neuron: int, source: Source, dtype: str) -> Recomputed:
        weights, layer, longest = self._weights, self._layer, self._longest[neuron]
        gate, in_, weight = self._values[neuron]
        name, mixture = weights.size.neuron(layer, neuron), weights.spec.mixture
        more = 1.0 if mixture is not None and mixture.is_clamped(name.expert) else 0.0
        return Recomputed(
            layer=layer,
            neuron=name.neuron,
            expert=name.expert,
            weight=weight if is_routed(name.expert) else None,
            rows=self._rows[neuron],
            lengths=self._lengths[neuron],
            gate=gate,
            in_=in_,
            source=source,
            dtype=dtype,
            gate_bound=longest * _norm(weights.gate(layer, neuron)) + abs(weights.bias_gate(layer, neuron)),
            in_bound=longest * _norm(weights.in_(layer, neuron)) + abs(weights.bias_in(layer, neuron)) + more,
        )


def _norm(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))

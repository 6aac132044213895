"""Recompute from the replay: the values are there, and are only picked out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gluscope.core.errors import StoreError
from gluscope.core.half import from_float16
from gluscope.core.neuron import NeuronId, is_routed
from gluscope.model.rows import WeightRows
from gluscope.recompute.gather import Gather, Wanted
from gluscope.recompute.types import Recomputed
from gluscope.replay.file import ReplayReader

_APART = "remove the run's replay folder and run the same command again"


def from_replay(
    weights: WeightRows, replays: Sequence[ReplayReader], layer: int, wanted: Wanted
) -> dict[int, Recomputed]:
    """Gate and in of neurons of one layer at their texts, by neuron.

    replays: of all shards that may hold the texts. wanted: for each neuron the rows of its texts.
    Raises StoreError for damage, and for a neuron's text that no replay has.
    """
    gather = Gather(weights, layer, wanted)
    places: dict[tuple[int, int], tuple[ReplayReader, int, float]] = {}
    lengths: dict[int, int] = {}
    for replay in replays:
        for neuron in wanted:
            texts = replay.texts(layer, neuron)
            rows, tokens = texts.row.tolist(), texts.tokens.tolist()
            lengths |= dict(zip(rows, tokens, strict=True))
            for row, first, longest in zip(rows, texts.first.tolist(), texts.longest.tolist(), strict=True):
                places[neuron, row] = replay, first, longest
    _refuse_missing(gather, layer, places)
    gather.set_lengths(lengths)
    for row, neurons in gather.by_row.items():
        for neuron in neurons:
            replay, first, longest = places[neuron, row]
            values = replay.values(first, lengths[row])
            gate, in_, weight = from_float16(values[:, 0]), from_float16(values[:, 1]), None
            if is_routed(weights.size.neuron(layer, neuron).expert):
                weight = replay.weights(first, lengths[row])
                gate[np.isnan(weight)] = in_[np.isnan(weight)] = np.nan
            gather.put_one(row, neuron, gate, in_, longest, weight)
    return gather.results("replay", "float16")


def _refuse_missing(gather: Gather, layer: int, places: dict[tuple[int, int], tuple[ReplayReader, int, float]]) -> None:
    for row, neurons in gather.by_row.items():
        for neuron in neurons:
            if (neuron, row) not in places:
                expected = f"text {row}, which the summary names"
                raise StoreError(f"replay of {NeuronId(layer, neuron)}", expected, "no replay that has it", _APART)

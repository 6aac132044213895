"""At which tokens a neuron's effect is measured: the strongest of each case by post, and as a control typical ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gluscope.core.activation import Activation
from gluscope.core.cases import CASES, Quantity
from gluscope.effect.types import GROUPS
from gluscope.summary.types import LayerSummary, SampleTokens


@dataclass(frozen=True)
class Chosen:
    """Tokens of one neuron by case and group. row: int64, position: int32 [case, group, example]; -1 unfilled."""

    row: np.ndarray
    position: np.ndarray


def choose(neuron: LayerSummary, sample: SampleTokens, act: Activation, examples: int) -> Chosen:
    """At most `examples` tokens of each case and group.

    neuron: 1 neuron, with its positions known. Strongest are the first of the case's list by post. Typical are as many
    sampled tokens of the case, sorted by |post|, at even distances from the weakest to the strongest; no token is both.
    """
    shape = (len(CASES), len(GROUPS), examples)
    row, position = np.full(shape, -1, np.int64), np.full(shape, -1, np.int32)
    gate, in_ = neuron.sample_gate[0].astype(np.float32), neuron.sample_in[0].astype(np.float32)
    size = np.abs(act(gate) * in_)
    for case in CASES:
        at = (0, case.index, Quantity.POST.index)
        rows, positions = neuron.extreme_example[at], neuron.extreme_position[at]
        there = np.flatnonzero((rows >= 0) & (positions >= 0))[:examples]
        row[case.index, 0, : len(there)], position[case.index, 0, : len(there)] = rows[there], positions[there]
        strongest = set(zip(rows[there].tolist(), positions[there].tolist(), strict=True))
        inside = np.flatnonzero(case.holds(gate, in_))
        tokens = zip(sample.example[inside].tolist(), sample.position[inside].tolist(), strict=True)
        places = np.array([i for i, token in zip(inside, tokens, strict=True) if token not in strongest], np.int64)
        places = places[np.lexsort((places, size[places]))]
        steps = np.arange(min(len(there), len(places)))
        control = places[(2 * steps + 1) * len(places) // (2 * max(1, len(steps)))]
        row[case.index, 1, : len(steps)] = sample.example[control]
        position[case.index, 1, : len(steps)] = sample.position[control]
    return Chosen(row, position)

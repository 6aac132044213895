"""Which texts a neuron's page shows: those of its lists, and some with typical tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gluscope.core.activation import Activation
from gluscope.core.cases import CASES, LISTS, SignCase
from gluscope.summary.types import LayerSummary, SampleTokens

BANDS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class TypicalToken:
    """A token of the sample whose |post| lies between two quantiles (`low` to `high`) of its case's."""

    case: SignCase
    low: float
    high: float
    row: int
    position: int


def typical_tokens(
    neuron: LayerSummary, sample: SampleTokens, act: Activation, per_band: int = 1
) -> tuple[TypicalToken, ...]:
    """Tokens that show what a case is usually like: `per_band` of each quarter of its |post|, at even distances.

    neuron: a summary of 1 neuron. The sample's tokens of a case are sorted by |post|, then by place; a quarter
    without tokens gives none. The choice is the same in both conventions.
    """
    gate, in_ = neuron.sample_gate[0].astype(np.float32), neuron.sample_in[0].astype(np.float32)
    size = np.abs(act(gate) * in_)
    found = []
    for case in CASES:
        places = np.flatnonzero(case.holds(gate, in_))
        places = places[np.lexsort((places, size[places]))]
        for low, high in pairwise(BANDS):
            band = places[int(low * len(places)) : int(high * len(places))]
            steps = np.arange(min(per_band, len(band)))
            chosen = band[(2 * steps + 1) * len(band) // (2 * max(1, len(steps)))]
            tokens = zip(sample.example[chosen].tolist(), sample.position[chosen].tolist(), strict=True)
            found += [TypicalToken(case, low, high, *token) for token in tokens]
    return tuple(found)


def example_rows(neuron: LayerSummary, typical: Iterable[TypicalToken] = ()) -> np.ndarray:
    """int64 [example], ascending: all texts that a neuron's lists and its typical tokens name, each once."""
    lists = [neuron.extreme_example[0, case.index, quantity.index] for case, quantity in LISTS]
    rows = np.unique(np.concatenate([*lists, np.array([token.row for token in typical], np.int64)]))
    return rows[rows >= 0]

"""What cosines would be by chance: of mismatched pairs of a layer's vectors, and of random directions."""

from __future__ import annotations

import numpy as np

from gluscope.core.convention import CONVENTIONS
from gluscope.weights.types import COSINES, QUANTILES, Vector

MOST_NEURONS = 1024  # of a layer that are paired with each other: about a million mismatched pairs


def mismatched(vectors: dict[Vector, np.ndarray], norm: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """float32 [convention, pair, quantile]: cosines between vectors of two different neurons of a layer.

    vectors: float32 [neuron, d_model] each. norm: float32 [neuron, vector]. sign: int8 [neuron]. All ordered pairs of
    the layer's neurons, or of MOST_NEURONS of them at even distances. NaN for a layer of fewer than two neurons.
    """
    chosen = evenly(len(sign))
    found = np.full((len(CONVENTIONS), len(COSINES), len(QUANTILES)), np.nan, np.float32)
    if len(chosen) < 2:
        return found
    unit = {vector: _unit(vectors[vector][chosen], norm[chosen, vector.index]) for vector in Vector}
    other = ~np.eye(len(chosen), dtype=bool)
    flip = {Vector.GATE: np.ones(len(chosen)), Vector.IN: sign[chosen], Vector.OUT: sign[chosen]}
    for kind in COSINES:
        a, b = kind.vectors
        raw = unit[a] @ unit[b].T
        refactored = raw * np.outer(flip[a], flip[b]).astype(np.float32)
        for at, pairs in enumerate((raw, refactored)):
            found[at, kind.index] = np.quantile(pairs[other], QUANTILES)
    return found


def random_quantiles(d_model: int, levels: tuple[float, ...] = QUANTILES) -> np.ndarray:
    """float64 [level]: quantiles of the cosine between two random directions in `d_model` dimensions.

    That cosine is distributed as Beta((d-1)/2, (d-1)/2) on [-1, 1]: with c = sin(t) the density of t is proportional
    to cos(t)**(d-2), which is smooth for every d >= 2 and is summed here on a fine grid. Exact to about 1e-8.
    """
    if d_model < 2:
        return np.where(np.asarray(levels) < 0.5, -1.0, 1.0)  # two directions, equal or opposite
    widest = min(np.pi / 2, 12.0 / np.sqrt(d_model))  # beyond it lies less than 1e-30
    angle = np.linspace(-widest, widest, 200_001)
    density = np.maximum(np.cos(angle), 0.0) ** (d_model - 2)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.asarray(np.sin(np.interp(np.asarray(levels) * below[-1], below, angle)))


def evenly(neurons: int) -> np.ndarray:
    """Places of at most MOST_NEURONS neurons."""
    if neurons <= MOST_NEURONS:
        return np.arange(neurons)
    return np.arange(MOST_NEURONS) * neurons // MOST_NEURONS


def _unit(matrix: np.ndarray, norm: np.ndarray) -> np.ndarray:
    """Rows divided by their norms; rows of 0 stay."""
    return np.asarray(matrix / np.where(norm > 0, norm, 1.0)[:, None], np.float32)

"""Nearest neurons by w_out, over all layers of a model.

Exact: every pair of neurons is compared once. That is n * (n + 1) * d_model operations for n neurons, for OLMo-7B
about as many as its token lists take; `reach` bounds it for models that are too large for that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gluscope.core.size import LayerNeurons, Stretch
from gluscope.model.spec import ModelSpec
from gluscope.weights.folded import FoldedRows
from gluscope.weights.top import Rank, TopScores
from gluscope.weights.types import NEAREST

MOST = 10**15  # operations that a mixture's nearest neurons may take: twice those of OLMo-7B's
_BLOCK = 4096  # neurons a side: cosines held at a time are 64 MiB


def nearest(
    rows: FoldedRows, reach: int | None = None, on_layer: Callable[[int], None] = lambda layer: None
) -> tuple[np.ndarray, np.ndarray]:
    """The NEAREST other neurons by |cos(w_out, w_out)|, of every neuron of the model.

    Returns int64 [layer, neuron, place], the others as layer * width + place (-1 unfilled), and float32 of the same
    shape, the cosines (NaN unfilled). reach: compare only layers at most so far apart; None: all. on_layer: called
    after each layer.
    A neuron whose w_out is 0 has no neighbours and is none.
    """
    size, width = rows.spec.size, rows.spec.size.widest
    lists = TopScores(size.n_layers * width, NEAREST, Rank.LARGEST)
    units = [_units(size.layers[layer]) for layer in range(size.n_layers)]
    for layer in range(size.n_layers):
        last = size.n_layers - 1 if reach is None else min(size.n_layers - 1, layer + reach)
        for number, unit in enumerate(units[layer]):
            own = _unit(rows, layer, unit)
            for other in range(layer, last + 1):
                for at in range(number if other == layer else 0, len(units[other])):
                    same, more = other == layer and at == number, units[other][at]
                    matrix = own if same else _unit(rows, other, more)
                    _compare(lists, own, matrix, layer * width + unit[0].begin, other * width + more[0].begin)
        on_layer(layer)
    shape = (size.n_layers, width, NEAREST)
    return lists.ids.reshape(shape), np.clip(lists.scores, -1.0, 1.0).reshape(shape)


def affordable_reach(spec: ModelSpec) -> int | None:
    """How far apart layers of a mixture of experts are compared: as far as MOST operations allow.

    None: all layers, as in every dense model; -1: not even neurons of one layer.
    """
    if spec.mixture is None:
        return None
    widest = spec.size.widest
    return min(spec.n_layers, MOST // (spec.n_layers * widest * widest * spec.d_model)) - 1


def _units(neurons: LayerNeurons) -> list[list[Stretch]]:
    """The MLPs of a layer, several small ones together: what is held in memory of it at a time."""
    units: list[list[Stretch]] = []
    for stretch in neurons.stretches():
        if units and stretch.end - units[-1][0].begin <= _BLOCK:
            units[-1].append(stretch)
        else:
            units.append([stretch])
    return units


def _unit(rows: FoldedRows, layer: int, unit: list[Stretch]) -> np.ndarray:
    """float32 [neuron, d_model], w_out at length 1; NaN where it is 0, so that no list takes it."""
    parts = [rows.out_matrix(layer, stretch.expert) for stretch in unit]
    out = parts[0] if len(parts) == 1 else np.concatenate(parts)
    length = np.sqrt(np.einsum("nd,nd->n", out, out, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        out /= length[:, None].astype(np.float32)
    return out


def _compare(lists: TopScores, own: np.ndarray, other: np.ndarray, first: int, first_other: int) -> None:
    """Offer all cosines between two layers' neurons to the lists of both, each pair once."""
    for i in range(0, len(own), _BLOCK):
        for j in range(i if own is other else 0, len(other), _BLOCK):
            cosine = own[i : i + _BLOCK] @ other[j : j + _BLOCK].T
            if own is other and i == j:
                np.fill_diagonal(cosine, np.nan)
            else:
                lists.add_transposed(cosine, first_other + j, first + i)
            lists.add(cosine, first + i, first_other + j)

"""Nearest neurons by w_out, over all layers of a model.

Exact: every pair of neurons is compared once. That is n * (n + 1) * d_model operations for n neurons, for OLMo-7B
about as many as its token lists take; `reach` bounds it for models that are too large for that.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gluscope.weights.folded import FoldedRows
from gluscope.weights.top import Rank, TopScores
from gluscope.weights.types import NEAREST

_BLOCK = 4096  # neurons a side: cosines held at a time are 64 MiB


def nearest(
    rows: FoldedRows, reach: int | None = None, on_layer: Callable[[int], None] = lambda layer: None
) -> tuple[np.ndarray, np.ndarray]:
    """The NEAREST other neurons by |cos(w_out, w_out)|, of every neuron of the model.

    Returns int64 [layer, neuron, place], the others as layer * d_mlp + neuron (-1 unfilled), and float32 of the same
    shape, the cosines (NaN unfilled). reach: compare only layers at most so far apart; None: all. on_layer: called
    after each layer.
    A neuron whose w_out is 0 has no neighbours and is none.
    """
    n_layers, d_mlp = rows.spec.n_layers, rows.spec.d_mlp
    lists = TopScores(n_layers * d_mlp, NEAREST, Rank.LARGEST)
    for layer in range(n_layers):
        own = _unit(rows, layer)
        last = n_layers - 1 if reach is None else min(n_layers - 1, layer + reach)
        for other in range(layer, last + 1):
            _compare(lists, own, own if other == layer else _unit(rows, other), layer * d_mlp, other * d_mlp)
        on_layer(layer)
    shape = (n_layers, d_mlp, NEAREST)
    return lists.ids.reshape(shape), np.clip(lists.scores, -1.0, 1.0).reshape(shape)


def _unit(rows: FoldedRows, layer: int) -> np.ndarray:
    """float32 [neuron, d_model], w_out at length 1; NaN where it is 0, so that no list takes it."""
    out = rows.out_matrix(layer)
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

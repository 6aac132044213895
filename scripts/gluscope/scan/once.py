"""Lists that show each text once: tokens of copies are counted and summed, only the first of them may stand in a list.

Forward passes give a text other last bits in another batch, so of several copies it would depend on the batches which
one a list names, and how many.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from gluscope.scan.reduce import PartsReducer
from gluscope.summary.types import ADDED, LayerSummary


class OnceReducer:
    """A Reducer that takes in batches either of first texts or of copies.

    first: its lists count. others: takes in the copies; its lists are left aside, so a k of 1 will do. copies: int64,
    rows of the token data set that are copies of lower ones.
    """

    def __init__(self, first: PartsReducer, others: PartsReducer, copies: np.ndarray) -> None:
        self._first, self._others, self._copies = first, others, np.sort(copies)
        self.kind, self.takes_padding = first.kind, first.takes_padding

    def update(
        self,
        layer: int,
        rows: np.ndarray,
        lengths: np.ndarray,
        *values: torch.Tensor,
    ) -> None:
        """See `Reducer.update`. Raises ValueError for a batch of both."""
        self._for(rows).update(layer, rows, lengths, *values)

    def update_many(
        self,
        first: int,
        rows: np.ndarray,
        lengths: np.ndarray,
        *values: torch.Tensor,
        positions: np.ndarray | None = None,
    ) -> None:
        """See `PartsReducer.update_many`."""
        self._for(rows).update_many(first, rows, lengths, *values, positions=positions)

    def _for(self, rows: np.ndarray) -> PartsReducer:
        copies = self._are_copies(rows)
        if copies.any() != copies.all():
            raise ValueError("a batch of first texts and of copies")
        return self._others if copies.any() else self._first

    def _are_copies(self, rows: np.ndarray) -> np.ndarray:
        """bool [example]. Every layer of every batch asks, and there may be many copies."""
        places = np.searchsorted(self._copies, rows)
        same: np.ndarray = self._copies[np.minimum(places, len(self._copies) - 1)] == rows
        return same

    def layer_summary(self, layer: int) -> LayerSummary:
        """See `Reducer.layer_summary`."""
        first, others = self._first.layer_summary(layer), self._others.layer_summary(layer)
        return replace(first, **{name: getattr(first, name) + getattr(others, name) for name in ADDED})

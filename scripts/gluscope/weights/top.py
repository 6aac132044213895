"""Running lists of the most extreme scores, kept while scores arrive in blocks. Imports numba."""

from __future__ import annotations

from enum import IntEnum

import numba
import numpy as np

_STRIPE = 64  # columns that a thread goes down together


class Rank(IntEnum):
    """What comes first in a list."""

    LOWEST = -1
    LARGEST = 0  # in absolute value
    HIGHEST = 1


class TopScores:
    """The first `places` of each neuron's scores by `rank`; ties: the lower id.

    ids: int64 [neuron, place], -1 unfilled. scores: float32 [neuron, place], as they were offered, NaN unfilled.
    It does not matter in which order, or in what blocks, scores arrive. NaN never enters.
    """

    def __init__(self, neurons: int, places: int, rank: Rank) -> None:
        self.rank = rank
        self.ids = np.full((neurons, places), -1, np.int64)
        self.scores = np.full((neurons, places), np.nan, np.float32)
        self._keys = np.full((neurons, places), -np.inf, np.float32)

    def add(self, scores: np.ndarray, first_neuron: int, first_id: int) -> None:
        """Offer float32 [neuron, id], C-contiguous, of neurons from `first_neuron` and ids from `first_id` on."""
        _offer_rows(scores, int(self.rank), first_id, *self._lists(first_neuron, len(scores)))

    def add_transposed(self, scores: np.ndarray, first_neuron: int, first_id: int) -> None:
        """Offer float32 [id, neuron], C-contiguous; without the time of a transposition."""
        _offer_columns(scores, int(self.rank), first_id, *self._lists(first_neuron, scores.shape[1]))

    def _lists(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = slice(first, first + count)
        return self._keys[part], self.ids[part], self.scores[part]


@numba.njit(inline="always")
def _key(value, rank):  # type: ignore[no-untyped-def]
    if rank == 1:
        return value
    return -value if rank == -1 else abs(value)


@numba.njit(parallel=True)
def _offer_rows(scores, rank, first_id, keys, ids, kept):  # type: ignore[no-untyped-def]
    for neuron in numba.prange(scores.shape[0]):
        threshold = keys[neuron, -1]
        for place in range(scores.shape[1]):
            key = _key(scores[neuron, place], rank)
            if key >= threshold:
                _insert(keys[neuron], ids[neuron], kept[neuron], key, first_id + place, scores[neuron, place])
                threshold = keys[neuron, -1]


@numba.njit(parallel=True)
def _offer_columns(scores, rank, first_id, keys, ids, kept):  # type: ignore[no-untyped-def]
    count = scores.shape[1]
    for stripe in numba.prange((count + _STRIPE - 1) // _STRIPE):
        begin, end = stripe * _STRIPE, min((stripe + 1) * _STRIPE, count)
        threshold = keys[begin:end, -1].copy()
        for place in range(scores.shape[0]):
            for neuron in range(begin, end):
                key = _key(scores[place, neuron], rank)
                if key >= threshold[neuron - begin]:
                    _insert(keys[neuron], ids[neuron], kept[neuron], key, first_id + place, scores[place, neuron])
                    threshold[neuron - begin] = keys[neuron, -1]


@numba.njit
def _insert(keys, ids, kept, key, id_, score):  # type: ignore[no-untyped-def]
    """Put an entry into a sorted list where it belongs, if it does."""
    at = len(keys)
    while at > 0 and (ids[at - 1] < 0 or keys[at - 1] < key or (keys[at - 1] == key and ids[at - 1] > id_)):
        at -= 1
    for place in range(len(keys) - 1, at, -1):
        keys[place], ids[place], kept[place] = keys[place - 1], ids[place - 1], kept[place - 1]
    if at < len(keys):
        keys[at], ids[at], kept[at] = key, id_, score

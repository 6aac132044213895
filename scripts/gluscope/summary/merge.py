"""Joining the statistics of disjoint sets of texts. Imports numba: import it where it is used, not before."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np

from gluscope.core.errors import ShardMismatch
from gluscope.summary.types import ADDED, LISTED, LayerSummary


def add(total: LayerSummary, more: LayerSummary) -> None:
    """Join the statistics of other texts into `total`; samples are left alone. The order of joining does not matter.

    Counts and sums add; of each list the k largest |value| stay, ties by the lower row. The lists of both must be
    sorted, as they are wherever they are stored. About 3 microseconds a neuron (k = 16). Raises ShardMismatch if k or
    the number of neurons differ, or where it meets a row twice.
    """
    if total.extreme_value.shape != more.extreme_value.shape:
        expected = f"{total.neurons} neurons with k {total.k}"
        raise ShardMismatch("merge", expected, f"{more.neurons} neurons with k {more.k}", "scan both alike")
    lists = [
        np.ascontiguousarray(getattr(part, name)).reshape(-1, total.k) for part in (total, more) for name in LISTED
    ]
    twice = _join(*lists)
    if twice >= 0:
        raise _twice(twice)
    for name, merged in zip(LISTED, lists, strict=False):
        getattr(total, name)[...] = merged.reshape(total.extreme_value.shape)
    for name in ADDED:
        getattr(total, name)[...] += getattr(more, name)


def in_order(summary: LayerSummary) -> LayerSummary:
    """Statistics with their lists sorted: |value| descending, then row (below 2^32); unfilled places last.

    Raises ShardMismatch for a list that has a row twice.
    """
    rows = np.sort(summary.extreme_example, axis=-1)
    twice = (rows[..., 1:] == rows[..., :-1]) & (rows[..., 1:] >= 0)
    if twice.any():
        raise _twice(int(rows[..., 1:][twice][0]))
    size = np.abs(summary.extreme_value).view(np.uint32)  # bits of floats that are not negative grow with the value
    keys = (~size).astype(np.uint64) << np.uint64(32) | summary.extreme_example.astype(np.uint32)
    best = np.argsort(np.where(summary.extreme_example < 0, np.uint64(2**64 - 1), keys), axis=-1)
    found = {name: np.take_along_axis(getattr(summary, name), best, -1) for name in LISTED}
    return replace(summary, sum=summary.sum + 0.0, **found)


def _twice(row: int) -> ShardMismatch:
    return ShardMismatch("merge", "each row in one shard", f"row {row} in two", "scan again with one shard plan")


# Not kept on disk: where no folder for that can be written, as on some clusters, numba would refuse to compile at all.
@numba.njit(nogil=True)
def _join(
    value: np.ndarray,
    example: np.ndarray,
    position: np.ndarray,
    more_value: np.ndarray,
    more_example: np.ndarray,
    more_position: np.ndarray,
) -> int:
    """Merge sorted lists [list, k] into the first three; returns a row that both have with one value, or -1."""
    lists, k = value.shape
    values, examples, positions = np.empty(k, value.dtype), np.empty(k, example.dtype), np.empty(k, position.dtype)
    for n in range(lists):
        if k == 0 or more_example[n, 0] < 0:
            continue
        last = example[n, k - 1]
        if last >= 0 and abs(more_value[n, 0]) < abs(value[n, k - 1]):
            continue  # nothing of it comes in
        i = j = 0  # their sum is `place`, so both stay below k
        for place in range(k):
            mine, theirs = example[n, i] >= 0, more_example[n, j] >= 0
            if mine and theirs:
                a, b = abs(value[n, i]), abs(more_value[n, j])
                if a == b and example[n, i] == more_example[n, j]:
                    return int(example[n, i])
                mine = a > b or (a == b and example[n, i] < more_example[n, j])
            if mine or not theirs:
                values[place], examples[place], positions[place] = value[n, i], example[n, i], position[n, i]
                i += 1
            else:
                values[place], examples[place] = more_value[n, j], more_example[n, j]
                positions[place] = more_position[n, j]
                j += 1
        value[n], example[n], position[n] = values, examples, positions
    return -1

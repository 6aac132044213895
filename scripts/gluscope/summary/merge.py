"""Joining the statistics of disjoint sets of texts."""

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
    best = _order(value, example)
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


def _order(value: np.ndarray, example: np.ndarray) -> np.ndarray:
    """Places of each list by |value| descending, then row; unfilled ones last."""
    magnitude = np.where(np.isnan(value), np.float32(-1), np.abs(value))
    by_row = np.argsort(example, axis=-1, kind="stable")
    magnitude = np.take_along_axis(magnitude, by_row, -1)
    return np.take_along_axis(by_row, np.argsort(-magnitude, axis=-1, kind="stable"), -1)


def _refuse_shared_rows(example: np.ndarray) -> None:
    rows = np.sort(example, axis=-1)
    twice = (rows[..., 1:] == rows[..., :-1]) & (rows[..., 1:] >= 0)
    if twice.any():
        row = int(rows[..., 1:][twice][0])
        raise ShardMismatch("merge", "each row in one shard", f"row {row} in two", "scan again with one shard plan")

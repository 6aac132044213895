"""Which of the sample tokens that shards hold are those of the whole.

The sample is the tokens with the smallest hashes. The more tokens there are, the smaller the largest hash in it: a
shard that was scanned when the data set was smaller holds all that it still gives to it, and some that it gave before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gluscope.core.errors import ShardMismatch
from gluscope.summary.types import SampleTokens


def choose_columns(
    parts: Sequence[tuple[str, SampleTokens]], wanted: SampleTokens | None
) -> tuple[SampleTokens, list[np.ndarray]]:
    """The sample of the whole, and of each shard the columns to take for it, one shard after another.

    parts: name and sample of each shard, in the order of their rows. wanted: the sample of the whole, sorted by row
    and position; None for all that the shards hold. Raises ShardMismatch for one that no shard holds.
    """
    found = [_key(sample) for _, sample in parts]
    if wanted is None:
        columns = [np.arange(len(keys)) for keys in found]
    else:
        keys = _key(wanted)
        columns = [np.flatnonzero(np.isin(own, keys)) for own in found]
        _refuse_missing(parts, [own[kept] for own, kept in zip(found, columns, strict=True)], wanted, keys)
    example = [sample.example[kept] for (_, sample), kept in zip(parts, columns, strict=True)]
    position = [sample.position[kept] for (_, sample), kept in zip(parts, columns, strict=True)]
    return SampleTokens(np.concatenate(example), np.concatenate(position)), columns


def _key(sample: SampleTokens) -> np.ndarray:
    """int64, in the order of rows and positions."""
    return np.asarray(sample.example.astype(np.int64) << np.int64(31) | sample.position)


def _refuse_missing(
    parts: Sequence[tuple[str, SampleTokens]], kept: Sequence[np.ndarray], wanted: SampleTokens, keys: np.ndarray
) -> None:
    missing = np.flatnonzero(~np.isin(keys, np.concatenate(kept)))
    if len(missing):
        row, position = int(wanted.example[missing[0]]), int(wanted.position[missing[0]])
        names = ", ".join(name for name, _ in parts[:1]) + (" and others" if len(parts) > 1 else "")
        step = "remove the run's scan folder and run the same command again"
        raise ShardMismatch(names, f"gate and in at row {row}, token {position}, of the sample", "none", step)

"""The tokens at which every neuron's gate and in are kept, chosen by a hash: no cut of the work changes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gluscope.summary.types import SampleTokens

_STEP = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 22  # tokens hashed at once

Skipped = Callable[[int, int], np.ndarray]


def _mix(state: np.ndarray) -> np.ndarray:
    """The output function of splitmix64 (Steele, Lea and Flood 2014): a bijection of 64 bits that scatters them."""
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


def token_hash(seed: int, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """uint64 [token]: a hash of (seed, row, position), the same on every machine."""
    with np.errstate(over="ignore"):
        key = _mix(np.asarray([seed], np.int64).astype(np.uint64) + _STEP)
        key = _mix((key ^ np.asarray(rows, np.int64).astype(np.uint64)) + _STEP)
        return _mix((key ^ np.asarray(positions, np.int64).astype(np.uint64)) + _STEP)


def choose_sample(seed: int, lengths: np.ndarray, count: int, skipped: Skipped | None = None) -> SampleTokens:
    """The `count` tokens of a data set with the smallest hashes; all tokens if there are fewer.

    lengths: int64 [row], tokens of every row of the data set. skipped(begin, end): bool [token] of the rows begin to
    end - 1, those that are not to be chosen. Sorted by (row, position).
    """
    lengths = np.asarray(lengths, np.int64)
    stops = np.cumsum(lengths)
    hashes, rows, positions = (np.zeros(0, kind) for kind in (np.uint64, np.int64, np.int64))
    begin = 0
    while begin < len(lengths):
        base = stops[begin] - lengths[begin]
        end = max(begin + 1, int(np.searchsorted(stops, base + _BLOCK, side="right")))
        part = np.repeat(np.arange(begin, end), lengths[begin:end])
        where = np.arange(len(part)) - (stops[part] - lengths[part] - base)
        if skipped is not None:
            kept = ~skipped(begin, end)
            part, where = part[kept], where[kept]
        hashes = np.concatenate([hashes, token_hash(seed, part, where)])
        rows, positions = np.concatenate([rows, part]), np.concatenate([positions, where])
        if len(hashes) > count:
            keep = np.lexsort((positions, rows, hashes))[:count]
            hashes, rows, positions = hashes[keep], rows[keep], positions[keep]
        begin = end
    order = np.lexsort((positions, rows))
    return SampleTokens(rows[order].astype(np.int64), positions[order].astype(np.int32))

"""Recompute from the residual cache: rows of two weight matrices, x of the texts wanted, one small product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gluscope.core.errors import StoreError
from gluscope.core.precision import UNIT_ROUNDOFF
from gluscope.model.rows import WeightRows
from gluscope.recompute.gather import Gather, Wanted
from gluscope.recompute.types import Recomputed
from gluscope.store.cache import CacheReader

_BLOCK = 32  # tokens that are multiplied at once
_AHEAD = 256  # texts that are announced to the disk at a time
_APART = "remove the run's cache folder and run the same command again"


def from_cache(weights: WeightRows, caches: Sequence[CacheReader], layer: int, wanted: Wanted) -> dict[int, Recomputed]:
    """Gate and in of neurons of one layer at their texts, by neuron.

    caches: of all shards that may hold the texts. wanted: for each neuron the rows of its texts. Every text is read
    once for all neurons that want it, in the order of the files; memory holds one text and the results.
    Raises StoreError for damage, and for a text that no cache has.
    """
    gather = Gather(weights, layer, wanted)
    holders = _holders(caches, gather.by_row)
    gather.set_lengths({row: length for row, (_, length) in holders.items()})
    vectors = {neuron: (weights.gate(layer, neuron), weights.in_(layer, neuron)) for neuron in wanted}
    biases = {neuron: (weights.bias_gate(layer, neuron), weights.bias_in(layer, neuron)) for neuron in wanted}
    for cache in caches:
        cache.will_read(layer, [row for row, (holder, _) in holders.items() if holder is cache])
    for cache, row in _ahead(holders, layer):
        x, neurons = cache.read(layer, row), gather.by_row[row]
        values, longest = _products(x, np.stack([vector for neuron in neurons for vector in vectors[neuron]]))
        values += np.array([bias for neuron in neurons for bias in biases[neuron]], np.float32)
        gather.put(row, values[:, ::2], values[:, 1::2], longest)
    return gather.results("cache", _coarsest(cache.dtype for cache, _ in holders.values()))


def _products(x: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """x times each vector (float32 [n, d_model]), float32 [token, n], and the largest |x|.

    For one neuron a few tokens at a time: they stay in the processor's cache, and products so small are computed by
    one thread. A second one would cost more than it brings (measured: 0.1 ns a number of x, whole texts 0.25 and,
    with other jobs on the machine, 10 and more).
    """
    values, square = np.empty((len(x), len(vectors)), np.float32), 0.0
    step = _BLOCK if len(vectors) == 2 else max(1, len(x))
    for begin in range(0, len(x), step):
        part = x[begin : begin + step]
        np.matmul(part, vectors.T, out=values[begin : begin + step])
        square = max(square, float(np.vecdot(part, part).max()))
    return values, square**0.5


def _holders(caches: Sequence[CacheReader], rows: dict[int, list[int]]) -> dict[int, tuple[CacheReader, int]]:
    """The cache of each row and its tokens, in the order in which the rows stand in the files."""
    found: dict[int, tuple[CacheReader, int]] = {}
    for cache in caches:
        for row, length in zip(cache.rows.tolist(), cache.lengths.tolist(), strict=True):
            if row in rows:
                found[row] = cache, length
    if missing := sorted(set(rows) - set(found)):
        where = str(caches[0].folder.parent) if caches else "cache"
        raise StoreError(where, f"text {missing[0]}, which the summary names", "no cache that has it", _APART)
    return found


def _ahead(holders: dict[int, tuple[CacheReader, int]], layer: int) -> Iterator[tuple[CacheReader, int]]:
    """All texts in the order of the files; the system is told of some at a time, so that a disk looks for them."""
    texts = [(cache, row) for row, (cache, _) in holders.items()]
    for begin in range(0, len(texts), _AHEAD):
        block = texts[begin : begin + _AHEAD]
        for cache in dict.fromkeys(cache for cache, _ in block):
            cache.will_read(layer, [row for other, row in block if other is cache])
        yield from block


def _coarsest(dtypes: Iterable[str]) -> str:
    return max(set(dtypes), key=UNIT_ROUNDOFF.__getitem__, default="float32")

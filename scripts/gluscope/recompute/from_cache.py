"""Recompute from the residual cache: rows of two weight matrices, x of the texts wanted, one small product."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from gluscope.cache.reader import CacheReader
from gluscope.core.errors import StoreError
from gluscope.core.neuron import is_routed
from gluscope.core.precision import UNIT_ROUNDOFF
from gluscope.model.rows import WeightRows
from gluscope.recompute.gather import Gather, Wanted
from gluscope.recompute.types import Recomputed

_Result = TypeVar("_Result")
_BLOCK = 32  # tokens that are multiplied at once
_AHEAD = 256  # texts that are announced to the disk at a time
_APART = "remove the run's cache folder and run the same command again"


def from_cache(
    weights: WeightRows, caches: Sequence[CacheReader], layer: int, wanted: Wanted, threads: int = 1
) -> dict[int, Recomputed]:
    """Gate and in of neurons of one layer at their texts, by neuron.

    caches: of all shards that may hold the texts. wanted: for each neuron the rows of its texts. Every text is read
    once for all neurons that want it, in the order of the files; memory holds a chunk a thread (for many neurons a
    text) and the results.
    Raises StoreError for damage, and for a text that no cache has.
    """
    gather = Gather(weights, layer, wanted)
    holders = _holders(caches, gather.by_row)
    gather.set_lengths({row: length for row, (_, length) in holders.items()})
    vectors = {n: np.stack([weights.gate(layer, n), weights.in_(layer, n)]) for n in wanted}
    biases = {n: np.array([weights.bias_gate(layer, n), weights.bias_in(layer, n)], np.float32) for n in wanted}
    workers = threads if len(wanted) == 1 else 1  # the products of many neurons use BLAS's own threads
    with ThreadPoolExecutor(workers) as pool:

        def products(cache: CacheReader, row: int) -> tuple[np.ndarray, float]:
            return _products(cache, layer, row, np.concatenate([vectors[neuron] for neuron in gather.by_row[row]]))

        for row, (values, longest) in _in_order(pool, products, _ahead(pool, holders, layer), 2 * workers):
            values += np.concatenate([biases[neuron] for neuron in gather.by_row[row]])
            if weights.spec.is_mixture(layer):
                _put_experts(gather, weights, holders[row][0], layer, row, values, longest)
            else:
                gather.put(row, values[:, ::2], values[:, 1::2], longest)
    return gather.results("cache", _coarsest(cache.dtype for cache, _ in holders.values()))


def _put_experts(
    gather: Gather,
    weights: WeightRows,
    cache: CacheReader,
    layer: int,
    row: int,
    values: np.ndarray,
    longest: float,
) -> None:
    """Values of neurons of a mixture, float32 [token, gate and in of each in turn], at the tokens that reach them."""
    mixture, reach = weights.spec.mixture, functools.cache(lambda number: cache.router_weight(layer, row, number))
    assert mixture is not None
    for i, neuron in enumerate(gather.by_row[row]):
        expert = weights.size.neuron(layer, neuron).expert
        gate, in_ = mixture.gated(expert, values[:, 2 * i], values[:, 2 * i + 1])
        weight = None
        if is_routed(expert):
            weight = reach(int(expert[1:]))
            gate, in_ = (np.where(np.isnan(weight), np.float32("nan"), part) for part in (gate, in_))
        gather.put_one(row, neuron, gate, in_, longest, weight)


def _products(cache: CacheReader, layer: int, row: int, vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """x of a text times each vector (float32 [n, d_model]), float32 [token, n], and the largest |x|.

    For one neuron a chunk at a time, from the disk to the product: it stays in the processor's cache, and products so
    small are computed by one thread. A second BLAS thread would cost more than it brings.
    """
    if len(vectors) > 2:
        x = cache.read(layer, row)
        return x @ vectors.T, float(np.vecdot(x, x).max(initial=0)) ** 0.5
    found, square = [np.empty((0, len(vectors)), np.float32)], 0.0
    for _, part in cache.parts(layer, row):
        found += [part[begin : begin + _BLOCK] @ vectors.T for begin in range(0, len(part), _BLOCK)]
        square = max(square, float(np.vecdot(part, part).max()))
    return np.concatenate(found), square**0.5


def _in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[CacheReader, int], _Result],
    texts: Iterable[tuple[CacheReader, int]],
    ahead: int,
) -> Iterator[tuple[int, _Result]]:
    """Row and result of each text, in the order of `texts`; at most `ahead` are under way or wait."""
    waiting: deque[tuple[int, Future[_Result]]] = deque()
    for cache, row in texts:
        waiting.append((row, pool.submit(work, cache, row)))
        if len(waiting) >= ahead:
            row, first = waiting.popleft()
            yield row, first.result()
    for row, first in waiting:
        yield row, first.result()


def _holders(caches: Sequence[CacheReader], rows: dict[int, list[int]]) -> dict[int, tuple[CacheReader, int]]:
    """The cache of each row and its tokens, in the order in which the rows stand in the files."""
    found: dict[int, tuple[CacheReader, int]] = {}
    for cache in caches:
        here = np.isin(cache.rows, list(rows))
        for row, length in zip(cache.rows[here].tolist(), cache.lengths[here].tolist(), strict=True):
            found[row] = cache, length
    if missing := sorted(set(rows) - set(found)):
        where = str(caches[0].path.parent) if caches else "cache"
        raise StoreError(where, f"text {missing[0]}, which the summary names", "no cache that has it", _APART)
    return found


def _ahead(
    pool: ThreadPoolExecutor, holders: dict[int, tuple[CacheReader, int]], layer: int
) -> Iterator[tuple[CacheReader, int]]:
    """All texts in the order of the files; the system is told of some at a time, so that a disk looks for them.

    A thread of the pool tells it: where the files are in memory that would only be waited for.
    """
    texts = [(cache, row) for row, (cache, _) in holders.items()]
    for begin in range(0, len(texts), _AHEAD):
        block = texts[begin : begin + _AHEAD]
        for cache in dict.fromkeys(cache for cache, _ in block):
            cache.open(layer)
            pool.submit(cache.will_read, layer, [row for other, row in block if other is cache])
        yield from block


def _coarsest(dtypes: Iterable[str]) -> str:
    return max(set(dtypes), key=UNIT_ROUNDOFF.__getitem__, default="float32")

"""Writes the residual cache of a shard: x, the input of every layer's MLP, at every token, for pages without a model.

A zarr group with one array `x` [layer, token, d_model] and, for each text, its row and length. Tokens stand in the
order in which the scan went through them, texts one after another, without padding. There is one file a layer.
bfloat16, which zarr-python lacks, is kept as its bits in uint16; the attribute `cache_dtype` says so.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gluscope.cache.appender import CHUNK, Backlog, Infinite, LayerFile
from gluscope.cache.reader import CacheReader
from gluscope.core.errors import ModelError, StoreError
from gluscope.core.schema import CACHE, CHOSEN, CHOSEN_WEIGHT
from gluscope.store.group import folder_of, new_group

_CHOICES = 1024  # tokens in a chunk of the router's choices
_ZARR_TYPE = {"float16": "float16", "bfloat16": "uint16"}
_INFINITE = {"float16": 0x7C00, "bfloat16": 0x7F80}  # bits of infinity; those of NaN are larger


class CacheWriter:
    """Writes a shard's cache while the scan runs; threads of its own do the writing, each that of some layers.

        with CacheWriter(path, n_layers=.., d_model=.., dtype="float16", rows=.., lengths=.., attributes=..) as cache:
            cache.append(layer, x)      # x: float16, or bfloat16 as uint16, [token, d_model], in processing order

    experts: how many a token is sent to, 0 for a model without; `append_chosen` and `append_weight` get the choice.
    rows, lengths: int64 [example], in processing order. The bytes do not depend on how x is cut into appends. Leaving
    the block puts the folder in place; an exception in it leaves nothing. Raises ModelError for values that are not
    finite in `dtype`, StoreError if the disk is full, at the next append or at the end.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        n_layers: int,
        d_model: int,
        dtype: str,
        rows: np.ndarray,
        lengths: np.ndarray,
        attributes: dict[str, Any],
        threads: int = 1,
        experts: int = 0,
    ) -> None:
        if dtype not in _ZARR_TYPE:
            raise ValueError(f"no cache of {dtype}")
        self._path, self._n_layers, self._d_model, self._dtype = folder_of(path), n_layers, d_model, dtype
        self._rows, self._lengths = np.asarray(rows, np.int64), np.asarray(lengths, np.int64)
        self._attributes = {**attributes, "cache_dtype": dtype}
        self._experts = experts
        self._chosen: list[list[np.ndarray]] = [[] for _ in range(n_layers)]
        self._weight: list[list[np.ndarray]] = [[] for _ in range(n_layers)]
        self._backlogs = [Backlog(threads) for _ in range(threads)]
        self._error: BaseException | None = None

    def __enter__(self) -> CacheWriter:
        from gluscope.cache.checksum import compiled

        compiled()  # now, because compiling holds the interpreter's lock
        with ExitStack() as stack:
            self._group = stack.enter_context(new_group(self._path, self._attributes, self._n_layers, self._as_good))
            self._layers = [
                LayerFile(self._group.file(f"x/{layer}.0.0"), self._d_model, _INFINITE[self._dtype])
                for layer in range(self._n_layers)
            ]
            for layer in self._layers:
                stack.callback(layer.close)
            self._threads = [
                threading.Thread(target=self._work, args=(backlog,), name="cache", daemon=True)
                for backlog in self._backlogs
            ]
            for thread in self._threads:
                thread.start()
            self._stack = stack.pop_all()
        return self

    def append(self, layer: int, x: np.ndarray) -> None:
        """Hand over the next tokens of a layer; the array must not be changed afterwards."""
        if self._error is not None:
            raise self._error
        whole = np.dtype(np.float16) if self._dtype == "float16" else None
        if x.dtype.itemsize != 2 or x.shape[1:] != (self._d_model,) or (whole is not None and x.dtype != whole):
            raise ValueError(f"x of {x.dtype} {x.shape} for a cache of {self._dtype} [token, {self._d_model}]")
        self._backlogs[layer % len(self._backlogs)].put((layer, x))

    def append_chosen(self, layer: int, chosen: np.ndarray) -> None:
        """The experts that the next tokens of a layer are sent to, [token, slot]. They wait in memory for the end."""
        self._chosen[layer].append(chosen.astype(np.int16))

    def append_weight(self, layer: int, weight: np.ndarray) -> None:
        """What the router multiplies these experts' outputs with: a float, or bfloat16 as uint16, [token, slot]."""
        self._weight[layer].append(_float32(weight))

    def _work(self, backlog: Backlog) -> None:
        for layer, x in backlog:
            if self._error is not None:
                continue
            try:
                with self._refusing_infinite(layer):
                    self._layers[layer].append(np.ascontiguousarray(x).view("<u2"))
            except BaseException as error:  # raised in the scan's thread, at the next append or at the end
                self._error = error

    @contextmanager
    def _refusing_infinite(self, layer: int) -> Iterator[None]:
        try:
            yield
        except Infinite:
            half = self._dtype == "float16"
            expected = "MLP inputs within float16's range (65504)" if half else "finite MLP inputs"
            step = "set cache_dtype: bfloat16" if half else "check the model: its activations overflow"
            found = "larger ones, or none that are numbers"
            raise ModelError(f"layer {layer}", expected, found, step) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._error = self._error or error  # after one, what still waits need not be written
        for backlog, thread in zip(self._backlogs, self._threads, strict=True):
            backlog.close()
            thread.join()
        try:
            if kind is None:
                if self._error is not None:
                    raise self._error
                self._finish()
        except BaseException:
            self._stack.__exit__(*sys.exc_info())
            raise
        self._stack.__exit__(kind, error, trace)

    def _as_good(self, folder: Path) -> bool:
        """Whether another job has put the same cache in place; one that reads it then goes on undisturbed."""
        try:
            with CacheReader(folder) as other:
                other.check_files()
                return bool(other.attributes == json.loads(json.dumps(self._attributes)))
        except StoreError:
            return False

    def _finish(self) -> None:
        tokens, written = int(self._lengths.sum()), [layer.tokens for layer in self._layers]
        if any(count != tokens for count in written):
            raise ValueError(f"tokens written {written}, announced {tokens} for every layer")
        x = replace(CACHE["x"], dtype=_ZARR_TYPE[self._dtype])
        self._group.declare("x", x, (tokens, self._d_model), by_layer=True, per_chunk=CHUNK)
        for number, layer in enumerate(self._layers):
            key = f"x/{number}.0.0"
            if tokens:
                with self._refusing_infinite(number):
                    layer.finish(self._group.marks.of(key))
            else:  # arrays without values have no files
                self._group.file(key).unlink()
        for name, values in (("rows", self._rows), ("lengths", self._lengths)):
            self._group.add(name, CACHE[name], values)
        for number in range(self._n_layers if self._experts else 0):
            shape = (tokens, self._experts)
            kinds = (("chosen", CHOSEN, self._chosen), ("chosen_weight", CHOSEN_WEIGHT, self._weight))
            for name, stored, kept in kinds:
                parts = kept[number]
                values = np.concatenate(parts) if parts else np.full(shape, stored.fill, stored.dtype)
                self._group.add(name, stored, values.reshape(shape), layer=number, per_chunk=_CHOICES)


def _float32(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)

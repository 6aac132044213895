"""Reads the residual cache of a shard, a text at a time. Needs no zarr; pages use it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from gluscope.core.half import compiled_from_float16, from_bfloat16, from_float16
from gluscope.store.damage import Damaged, refused
from gluscope.store.group import GroupReader
from gluscope.store.zarrfile import checked, read_index

_AHEAD = 2 << 30  # bytes that are asked for before they are read
_FLOAT32 = {"float16": from_float16, "bfloat16": from_bfloat16}


class CacheReader:
    """Reads single texts of a shard's cache, and no more of it than they take; every chunk's checksum is compared.

    rows, lengths, offsets: int64 [example], in stored order; attributes: what the scan wrote; dtype: of the stored x.
    bytes_read counts. compiled: for a process that reads much, see `compiled_from_float16`. Raises StoreError for what
    is missing or damaged.
    """

    def __init__(self, path: str | Path, compiled: bool = False) -> None:
        group = GroupReader(path, "a cache")
        self.path, self.attributes, self._marks = group.path, group.attributes, group.marks
        self._group = group
        with refused(self.path, "zarr.json"):
            self.dtype: str = self.attributes["cache_dtype"]
            self._as_float32: Callable[[np.ndarray, np.ndarray], np.ndarray] = _FLOAT32[self.dtype]
            self.n_layers, self.tokens, self.d_model = group.arrays["x"].shape
            self._layout = group.layout("x", 0)
            self._chunk = self._layout.per_chunk
        if compiled and self.dtype == "float16":
            self._as_float32 = compiled_from_float16()
        self.rows, self.lengths = group.read("rows"), group.read("lengths")
        self.bytes_read, self._counting, self._own = group.bytes_read, threading.Lock(), threading.local()
        self.offsets = np.cumsum(self.lengths) - self.lengths
        self._place = dict(zip(self.rows.tolist(), range(len(self.rows)), strict=True))
        self._files: dict[int, tuple[int, np.ndarray]] = {}

    def __contains__(self, row: int) -> bool:
        return row in self._place

    def read(self, layer: int, row: int) -> np.ndarray:
        """x of one text at one layer, float32 [token, d_model]. Raises KeyError for a text that is not in it."""
        out = np.empty((self._tokens_of(row)[1], self.d_model), np.float32)
        for at, stored in self._stored(layer, row):
            self._as_float32(stored, out[at : at + len(stored)])
        return out

    def parts(self, layer: int, row: int) -> Iterator[tuple[int, np.ndarray]]:
        """The same a chunk at a time: the first token's place in the text, and x, which the next part overwrites.

        A part stays in the processor's cache. Threads may do this at the same time, after `open` of the layer; in
        one thread a text's parts come before the next text's.
        """
        block = self._room("x", self._chunk * self.d_model, np.float32).reshape(self._chunk, self.d_model)
        for at, stored in self._stored(layer, row):
            yield at, self._as_float32(stored, block[: len(stored)])

    def _stored(self, layer: int, row: int) -> Iterator[tuple[int, np.ndarray]]:
        """What a text has in each chunk, uint16 [token, d_model], and its place in the text; the next overwrites it."""
        begin, length = self._tokens_of(row)
        if not length * self.d_model:
            return
        with refused(self.path, f"x/{layer}.0.0"):
            file, places = self._open(layer)
            first, last, _, _ = self._span(places, begin, length)
            data = self._room("stored", int(places[first, 1]), np.uint8)
            for number in range(first, last + 1):
                self._read_into(data, file, int(places[number, 0]))
                chunk = checked(data, f"chunk {number}").view("<u2").reshape(-1, self.d_model)
                low = number * self._chunk - begin  # of the chunk's first token in the text
                at = max(0, low)
                yield at, chunk[at - low : length - low]

    def router_weight(self, layer: int, row: int, expert: int) -> np.ndarray:
        """What the router multiplies an expert's output with at each token of a text, float32 [token]; NaN where the
        token is not sent to it."""
        begin, length = self._tokens_of(row)
        chosen, weight = (self._group.part(name, begin, begin + length, layer) for name in ("chosen", "chosen_weight"))
        own = chosen == expert
        return np.where(own.any(1), np.where(own, weight, 0).sum(1), np.nan).astype(np.float32)

    def open(self, layer: int) -> None:
        """Open a layer's file and read its index; else the first to ask for a text does."""
        with refused(self.path, f"x/{layer}.0.0"):
            self._open(layer)

    def will_read(self, layer: int, rows: Iterable[int]) -> None:
        """Tell the system which texts come next, so that a disk looks for them while others are worked on.

        Twice to three times as fast where the files are not in memory. Of very many texts only the first are named.
        """
        texts = [self._tokens_of(row) for row in rows]
        if not texts or not hasattr(os, "posix_fadvise"):
            return
        with refused(self.path, f"x/{layer}.0.0"):
            file, places = self._open(layer)
            ahead = 0
            for begin, length in texts:
                if length and ahead < _AHEAD:
                    _, _, start, stop = self._span(places, begin, length)
                    os.posix_fadvise(file, start, stop - start, os.POSIX_FADV_WILLNEED)
                    ahead += stop - start

    def check_files(self) -> None:
        """Raises StoreError if a layer's file is missing or cut short."""
        for layer in range(self.n_layers if self.tokens else 0):
            with refused(self.path, f"x/{layer}.0.0"):
                self._open(layer)

    def close(self) -> None:
        for file, _ in self._files.values():
            os.close(file)
        self._files.clear()

    def __enter__(self) -> CacheReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tokens_of(self, row: int) -> tuple[int, int]:
        place = self._place[row]
        return int(self.offsets[place]), int(self.lengths[place])

    def _span(self, places: np.ndarray, begin: int, length: int) -> tuple[int, int, int, int]:
        """First and last chunk of some tokens, first byte and the one behind the last."""
        first, last = begin // self._chunk, (begin + length - 1) // self._chunk
        return first, last, int(places[first, 0]), int(places[last].sum())

    def _open(self, layer: int) -> tuple[int, np.ndarray]:
        """A layer's file and its index, int64 [chunk, (first byte, bytes)]."""
        if not 0 <= layer < self.n_layers:
            raise IndexError(f"layer {layer} of {self.n_layers}")
        if layer not in self._files:
            layout, mark = self._layout, self._marks.of(f"x/{layer}.0.0")
            file = os.open(self.path / f"x/{layer}.0.0", os.O_RDONLY)
            try:
                size = os.fstat(file).st_size
                places = read_index(layout.chunks, size, lambda start, length: self._pread(file, length, start), mark)
                if (places[:, 1] != self._chunk * layout.item_bytes + 4).any():
                    raise Damaged("chunks of one size, found several")
            except BaseException:
                os.close(file)
                raise
            self._files[layer] = file, places
        return self._files[layer]

    def _room(self, name: str, size: int, dtype: type) -> np.ndarray:
        """Memory of this thread for `size` values, the same again and again: the system clears what it gives anew."""
        found: np.ndarray | None = getattr(self._own, name, None)
        if found is None or len(found) != size:
            found = np.empty(size, dtype)
            setattr(self._own, name, found)
        return found

    def _pread(self, file: int, size: int, start: int) -> bytes:
        data = os.pread(file, size, start)
        self.bytes_read += len(data)
        return data

    def _read_into(self, data: np.ndarray, file: int, start: int) -> None:
        found = os.preadv(file, [data.data], start)
        with self._counting:
            self.bytes_read += found
        if found != len(data):
            raise Damaged(f"{len(data)} bytes from {start} on, found {found}")

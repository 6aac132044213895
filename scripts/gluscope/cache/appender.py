"""A file of the residual cache while it grows, and the arrays that wait to be written to it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gluscope.store.zarrfile import Index, crc

CHUNK = 64  # tokens
BACKLOG = 256 << 20  # bytes that may wait to be written
_RUN = 8  # chunks that are written at once; a system takes at least 16 parts


class Infinite(Exception):
    """Values that are not finite in the cache's number format."""


class LayerFile:
    """One layer's file while it grows: full chunks go to disk straight from the array, the rest waits.

    infinite: bits of infinity in the cache's number format; `append` and `finish` raise Infinite. Checksums and writing
    leave the interpreter's lock to others.
    """

    def __init__(self, path: Path, d_model: int, infinite: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self._index = Index()
        self._infinite = infinite
        self._rest = np.zeros((CHUNK, d_model), "<u2")
        self._waiting = 0
        self.tokens = 0

    def append(self, x: np.ndarray) -> None:
        self.tokens += len(x)
        if self._waiting:
            fits = min(CHUNK - self._waiting, len(x))
            self._rest[self._waiting : self._waiting + fits] = x[:fits]
            self._waiting, x = self._waiting + fits, x[fits:]
            if self._waiting < CHUNK:
                return
            self._write(self._rest)
        full = len(x) - len(x) % CHUNK
        for begin in range(0, full, _RUN * CHUNK):
            self._write(x[begin : min(full, begin + _RUN * CHUNK)])
        self._waiting = len(x) - full
        self._rest[: self._waiting] = x[full:]

    def finish(self, mark: bytes = b"") -> None:
        """Write the last chunk, padded, the mark and the index."""
        if self._waiting:
            self._rest[self._waiting :] = 0
            self._write(self._rest)
        _write_all(self._file, [mark + self._index.encode()])

    def close(self) -> None:
        os.close(self._file)

    def _write(self, x: np.ndarray) -> None:
        """Whole chunks, each with its checksum behind it."""
        from gluscope.cache.checksum import checksums

        chunks = x.reshape(len(x) // CHUNK, -1)
        if chunks.shape[1]:
            sums, finite = checksums(chunks, self._infinite)
            if not finite:
                raise Infinite
        else:
            sums = np.frombuffer(crc(b"") * len(chunks), np.uint8).reshape(-1, 4)
        _write_all(self._file, [part.data for pair in zip(chunks, sums, strict=True) for part in pair])
        for chunk in chunks:
            self._index.add(chunk.nbytes + 4)


def _write_all(file: int, parts: Sequence[memoryview | bytes]) -> None:
    """All bytes of all parts, one after another, at the end of a file."""
    left = [memoryview(part).cast("B") for part in parts]
    while left:
        written = os.writev(file, left)
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if left:
            left[0] = left[0][written:]


class Backlog:
    """Arrays that wait to be written, as many as one of `shares` of BACKLOG bytes holds, or one."""

    def __init__(self, shares: int = 1) -> None:
        self._shares = shares
        self._changed = threading.Condition()
        self._items: deque[tuple[int, np.ndarray]] = deque()
        self._bytes, self._closed = 0, False

    def put(self, item: tuple[int, np.ndarray]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes or self._bytes + item[1].nbytes <= BACKLOG // self._shares)
            self._items.append(item)
            self._bytes += item[1].nbytes
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed)
                if not self._items:
                    return
                item = self._items.popleft()
            yield item
            with self._changed:
                self._bytes -= item[1].nbytes
                self._changed.notify_all()

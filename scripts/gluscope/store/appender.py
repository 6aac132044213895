"""A file of the residual cache while it grows, and the arrays that wait to be written to it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gluscope.store.zarrfile import Index, crc

CHUNK = 64  # tokens
BACKLOG = 256 << 20  # bytes that may wait to be written
_RUN = 4  # chunks that are written at once


class LayerFile:
    """One layer's file while it grows: full chunks go to disk, the rest waits."""

    def __init__(self, path: Path, d_model: int) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by close
        self._index = Index()
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

    def finish(self) -> None:
        """Write the last chunk, padded, and the index."""
        if self._waiting:
            self._rest[self._waiting :] = 0
            self._write(self._rest)
        self._file.write(self._index.encode())

    def close(self) -> None:
        self._file.close()

    def _write(self, x: np.ndarray) -> None:
        """Whole chunks, each with its checksum behind it."""
        size = CHUNK * x.shape[1] * 2
        data = np.empty((len(x) // CHUNK, size + 4), np.uint8)
        data[:, :size] = np.ascontiguousarray(x).view(np.uint8).reshape(len(data), size)
        for chunk in data:
            chunk[size:] = np.frombuffer(crc(chunk[:size]), np.uint8)
            self._index.add(size + 4)
        self._file.write(data.data)


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

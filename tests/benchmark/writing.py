"""What writing a cache costs, and how much it holds up a thread beside it, as the one that keeps a GPU busy."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gluscope.cache.appender import LayerFile
from gluscope.cache.checksum import compiled

_MEMORY = Path("/dev/shm")
_INFINITE = 0x7C00  # float16


@dataclass(frozen=True)
class Writing:
    """Files of made-up x, each written by a thread of its own.

    rate: bytes/s. beside: steps of a thread that computes beside them, over those that it does alone. longest: the
    most seconds between two of its steps. nowhere: what is written is thrown away, so that the system's part of the
    work, which differs from disk to disk, is not in it.
    """

    d_model: int
    threads: int
    nowhere: bool
    rate: float
    beside: float
    longest: float


class _Beside:
    """A thread that takes small steps in Python and lets go of the interpreter's lock after each, as one that launches
    kernels does."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._steps, self.longest = 0, 0.0
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        last = time.perf_counter()
        while not self._stop.is_set():
            sum(range(300))
            time.sleep(0)
            now = time.perf_counter()
            self.longest = max(self.longest, now - last)
            self._steps += 1
            last = now

    def __enter__(self) -> _Beside:
        self._thread.start()
        self._begin = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.rate = self._steps / (time.perf_counter() - self._begin)


def writing(d_model: int, threads: int, nowhere: bool, total: int, folder: Path, tokens: int = 16384) -> Writing:
    """Write about `total` bytes, in pieces as a scan's batches give them; in memory where there is room."""
    compiled()
    memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 2 * total
    x = np.random.default_rng(0).standard_normal((tokens, d_model), np.float32).astype(np.float16).view("<u2")
    pieces = max(1, total // (x.nbytes * threads))
    with _Beside() as alone:
        time.sleep(0.3)
    with tempfile.TemporaryDirectory(dir=_MEMORY if memory else folder, prefix="gluscope-bench-") as place:
        paths = [Path(os.devnull) if nowhere else Path(place) / str(number) for number in range(threads)]
        files = [LayerFile(path, d_model, _INFINITE) for path in paths]
        with _Beside() as beside, ThreadPoolExecutor(threads) as pool:
            start = time.perf_counter()
            for done in [pool.submit(_write, file, x, pieces) for file in files]:
                done.result()
            taken = time.perf_counter() - start
    rate = threads * pieces * x.nbytes / taken
    return Writing(d_model, threads, nowhere, rate, beside.rate / alone.rate, beside.longest)


def _write(file: LayerFile, x: np.ndarray, pieces: int) -> None:
    for _ in range(pieces):
        file.append(x)
    file.finish()
    file.close()

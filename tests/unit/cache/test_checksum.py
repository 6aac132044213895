"""Checksums off the interpreter's lock: those of the library that zarr uses, and no infinity overlooked."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from gluscope.cache import appender
from gluscope.cache.appender import CHUNK, LayerFile
from gluscope.cache.checksum import _BORDER, _LANES, checksums, compiled
from gluscope.core.cores import GIVEN, usable_cores

INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80}


def some_chunks(values: int, below: int = 0x7C00) -> np.ndarray:
    """uint16 [3, values], both signs."""
    rng = np.random.default_rng(values)
    return (rng.integers(0, below, (3, values)) | rng.integers(0, 2, (3, values)) << 15).astype("<u2")


@pytest.mark.parametrize("instruction", [True, False])
@pytest.mark.parametrize("values", [4, 64, 64 * 3, 64 * 96, 64 * 97, 64 * 767, 64 * 1024])
def test_equals_the_library(values: int, instruction: bool) -> None:
    """Shorter than a strand, exact multiples of three strands, and with a rest; also where no processor helps."""
    chunks = some_chunks(values)
    expected = [google_crc32c.value(chunk.tobytes()) for chunk in chunks]
    found = np.empty(3, "<u4")
    raise_ = np.uint64((_BORDER - 0x7C00) * _LANES)
    assert compiled(instruction)(chunks.view(np.uint64), raise_, found)
    assert found.tolist() == expected


@pytest.mark.parametrize("dtype", INFINITY)
@pytest.mark.parametrize("place", [0, 3, 6143, 6144, 6150])
def test_finds_every_value_that_is_not_finite(dtype: str, place: int) -> None:
    infinite, bits = INFINITY[dtype], some_chunks(6152, INFINITY[dtype])
    assert checksums(bits, infinite)[1]
    bits[1, place] = infinite - 1  # the largest that is finite
    assert checksums(bits, infinite)[1]
    for bad in (infinite, infinite | 1, 0x7FFF, infinite | 0x8000, 0xFFFF):
        bits[1, place] = bad
        assert not checksums(bits, infinite)[1]


def test_arrays_at_odd_addresses() -> None:
    odd = np.empty(64 * 3 * 2 + 1, "<u2")[1:].reshape(2, -1)
    odd[:] = some_chunks(64 * 3)[:2]
    expected = [google_crc32c.value(chunk.tobytes()) for chunk in odd]
    assert checksums(odd, 0x7C00)[0].view("<u4").ravel().tolist() == expected


def test_writing_in_small_bits_writes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system may take only some of what it is given."""
    x = some_chunks(CHUNK * 4 * 3).reshape(-1, 4)[:-5]
    real = os.writev

    def some(file: int, parts: list[memoryview]) -> int:
        return real(file, [parts[0][: max(1, len(parts[0]) // 2)]])

    for name, own in (("whole", real), ("bits", some)):
        monkeypatch.setattr(appender.os, "writev", own)
        file = LayerFile(tmp_path / name, 4, 0x7C00)
        file.append(x[:100])
        file.append(x[100:])
        file.finish()
        file.close()
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "bits").read_bytes()


def test_a_large_checksum_leaves_the_lock_to_others() -> None:
    """Another thread takes steps while a single call runs. If that held the lock, there could be one or two."""
    words, found, loop = np.zeros((1, 16 << 20), np.uint64), np.empty(1, "<u4"), compiled()
    steps, stop, most = [0], threading.Event(), 0

    def count() -> None:
        while not stop.is_set():
            steps[0] += 1
            time.sleep(0)

    other = threading.Thread(target=count)
    other.start()
    try:
        for _ in range(20):  # on a busy machine the other may have no core for a while
            before = steps[0]
            loop(words, np.uint64(0), found)
            most = max(most, steps[0] - before)
    finally:
        stop.set()
        other.join()
    assert most > 20


def test_cores_are_what_the_job_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = len(os.sched_getaffinity(0))
    for given, expected in (("1", 1), ("1000", allowed), ("", allowed), ("4(x2)", allowed)):
        monkeypatch.setenv(GIVEN, given)
        assert usable_cores() == expected

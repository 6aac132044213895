"""Checksums of the blocks of a large file, in a file beside it: who reads a part of it compares that part alone.

A block is as large as a page of memory, so that no more is read from a disk than without.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import google_crc32c
import numpy as np

from gluscope.store.damage import Damaged

BLOCK = 4096  # bytes
SUFFIX = ".crc32c"
_AT_ONCE = 1 << 24


def sums_file(path: Path) -> Path:
    """The file beside `path` that holds its checksums: uint32, little-endian, one a block."""
    return path.with_name(path.name + SUFFIX)


def write_sums(path: Path) -> Path:
    """Write the checksums of a file; returns theirs."""
    out = sums_file(path)
    with open(path, "rb") as file, open(out, "wb") as sums:
        while data := file.read(_AT_ONCE):
            blocks = [google_crc32c.value(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
            sums.write(np.array(blocks, "<u4").tobytes())
    return out


class Blocks:
    """A file's bytes (uint8 [byte], such as a memory map) with their checksums; each block is compared once."""

    def __init__(self, data: np.ndarray, sums: np.ndarray, error: Callable[[Damaged], Exception]) -> None:
        """sums: uint32 [block]. error: what `compare` raises. Raises Damaged where `sums` is of another length."""
        if len(sums) != -(-len(data) // BLOCK):
            raise Damaged(f"{-(-len(data) // BLOCK)} checksums, found {len(sums)}")
        self._data, self._sums, self._error = data, sums, error
        self._compared = bytearray(len(sums))

    def compare(self, start: int, stop: int) -> None:
        """Raises unless the bytes from `start` to `stop` - 1 are what was written."""
        if stop <= start:
            return
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            if not self._compared[block]:
                if google_crc32c.value(self._data[block * BLOCK : (block + 1) * BLOCK]) != self._sums[block]:
                    where = f"bytes {block * BLOCK} to {(block + 1) * BLOCK - 1}"
                    raise self._error(Damaged(f"{where} as written, found others"))
                self._compared[block] = 1

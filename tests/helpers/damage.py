"""Damage to stored files, and what readers may make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.errors import StoreError


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())


@contextmanager
def altered(file: Path, data: bytes | None) -> Iterator[None]:
    """The file with other content, or without any; afterwards as it was."""
    before = file.read_bytes()
    try:
        file.unlink() if data is None else file.write_bytes(data)
        yield
    finally:
        file.write_bytes(before)


def flip(data: bytes, bit: int) -> bytes:
    """The same with one bit turned over."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def refused_or_equal(read: Callable[[], object], what: object) -> bool:
    """Whether `read` refuses in one line; if not it must give the same as before."""
    try:
        found = read()
    except StoreError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return True
    np.testing.assert_equal(found, what)
    return False


def check_flips(path: Path, read: Callable[[], object], rng: np.random.Generator, number: int) -> int:
    """Turn over `number` bits of each file under `path`, one at a time; returns how many were refused."""
    whole, refused = read(), 0
    for file in files_of(path):
        data = file.read_bytes()
        for bit in rng.integers(0, 8 * len(data), number).tolist():
            with altered(file, flip(data, bit)):
                refused += refused_or_equal(read, whole)
    np.testing.assert_equal(read(), whole)
    return refused


def check_cuts(path: Path, read: Callable[[], object], needed: Callable[[Path], bool]) -> None:
    """Cut each file short or take it away. Those `needed` must then be refused, the others may be."""
    whole = read()
    for file in files_of(path):
        data = file.read_bytes()
        for size in (None, 0, 1, len(data) // 2, len(data) - 1):
            with altered(file, None if size is None else data[:size]):
                if needed(file):
                    with pytest.raises(StoreError) as caught:
                        read()
                    assert str(path) in str(caught.value)
                else:
                    refused_or_equal(read, whole)

"""Files of arrays in the zarr v3 format, written and read without a zarr library, which would take many times as long.

Every array is cut along one axis, its items (neurons, tokens, layers), into chunks that stand one after another in one
file: zarr's sharding codec with its index at the end. Every chunk and the index have a crc32c. Before the index stands
a mark of what the file is (see `Marks`), so that one under another's name is noticed. zarr-python, tensorstore and
xarray read these files; docs/decisions/stores.md has the reasons and times.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import google_crc32c
import numpy as np

from gluscope.store.damage import Damaged

_Bytes = TypeVar("_Bytes", bytes, np.ndarray)
ReadAt = Callable[[int, int], bytes]  # (first byte, bytes) of a file
_MARK_BYTES = 16


def crc(data: bytes | np.ndarray) -> bytes:
    """Crc32c of `data` (an array: uint8, contiguous), as zarr stores it: 4 bytes, little-endian."""
    value: int = google_crc32c.value(data)
    return value.to_bytes(4, "little")


@dataclass(frozen=True)
class Marks:
    """The marks of a group's files: each says which file of which group it stands in.

    group: digest of the group's attributes, in hex; empty for a group of an earlier version, whose files have no marks.
    """

    group: str = ""

    @classmethod
    def of_group(cls, attributes: dict[str, Any]) -> Marks:
        """attributes: all that the group gets."""
        return cls(hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest()[:32])

    def of(self, key: str) -> bytes:
        """The mark of a file. key: its name in the group, such as `count/1.0.0`."""
        return hashlib.sha256(f"{self.group} {key}".encode()).digest()[:_MARK_BYTES] if self.group else b""


@dataclass(frozen=True)
class ItemFile:
    """How one file of an array is laid out: `count` items of shape `item`, `per_chunk` to a chunk.

    The last chunk is filled up with `fill`. compressed: by zstd.
    """

    count: int
    item: tuple[int, ...]
    dtype: np.dtype[Any]
    per_chunk: int
    fill: float | int
    compressed: bool

    @property
    def chunks(self) -> int:
        return -(-self.count // self.per_chunk)

    @property
    def item_bytes(self) -> int:
        return math.prod(self.item) * self.dtype.itemsize

    @property
    def empty(self) -> bool:
        """Without a value; such a file is not written."""
        return self.count == 0 or self.item_bytes == 0

    def encode(self, values: np.ndarray, mark: bytes = b"") -> Iterator[bytes]:
        """The bytes of the file, in parts. values: [item, ...]."""
        items = np.ascontiguousarray(values, self.dtype).reshape(self.count, -1)
        pack = _zstd().encode if self.compressed else bytes
        index = Index()
        for begin in range(0, self.count, self.per_chunk):
            part = items[begin : begin + self.per_chunk]
            if len(part) < self.per_chunk:
                rest = np.full((self.per_chunk - len(part), part.shape[1]), self.fill, self.dtype)
                part = np.concatenate([part, rest])
            data = bytes(pack(part.tobytes()))
            index.add(len(data) + 4)
            yield data
            yield crc(data)
        yield mark
        yield index.encode()

    def decode(self, begin: int, end: int, size: int, read: ReadAt, mark: bytes = b"") -> np.ndarray:
        """Items `begin` to `end` - 1, [item, ...], of a file of `size` bytes. Raises Damaged.

        Chunks that are not compressed stand at equal distances: then a part is read without the index, long in a large
        file.
        """
        if self.empty or begin >= end:
            return np.zeros((max(0, end - begin), *self.item), self.dtype)
        first, last = begin // self.per_chunk, -(-end // self.per_chunk)
        stored = self.per_chunk * self.item_bytes + 4
        if self.compressed or end - begin == self.count:
            places = read_index(self.chunks, size, read, mark)[first:last].tolist()
        elif size != (whole := self.chunks * (stored + 16) + 4 + len(mark)):
            raise Damaged(f"{whole} bytes, found {size}")
        else:
            _compare(mark, read(self.chunks * stored, len(mark)) if mark else b"")
            places = [[number * stored, stored] for number in range(first, last)]
        data = np.frombuffer(read(start := places[0][0], sum(length for _, length in places)), np.uint8)
        out = np.empty((last - first, stored - 4), np.uint8)
        for number, (at, length) in enumerate(places):
            out[number] = self._chunk(data[at - start : at - start + length], first + number)
        items = out.reshape(-1).view(self.dtype).reshape(-1, *self.item)
        return items[begin - first * self.per_chunk : end - first * self.per_chunk]

    def _chunk(self, stored: np.ndarray, number: int) -> np.ndarray:
        """A chunk's bytes, uint8."""
        data = checked(stored, f"chunk {number}")
        if self.compressed:
            data = self._unpacked(data, number)
        if len(data) != self.per_chunk * self.item_bytes:
            raise Damaged(f"{self.per_chunk * self.item_bytes} bytes in chunk {number}, found {len(data)}")
        return data

    def _unpacked(self, data: np.ndarray, number: int) -> np.ndarray:
        import pyarrow  # which pages need anyway, and which is imported in less time than numcodecs

        try:
            size = self.per_chunk * self.item_bytes
            return np.frombuffer(pyarrow.decompress(data, decompressed_size=size, codec="zstd"), np.uint8)
        except (OSError, pyarrow.ArrowException) as error:
            raise Damaged(f"chunk {number} in zstd, found other bytes ({error})") from error


class Index:
    """Where the chunks of a file stand, as it grows."""

    def __init__(self) -> None:
        self._sizes: list[int] = []

    def add(self, size: int) -> None:
        """The next chunk takes `size` bytes, checksum included."""
        self._sizes.append(size)

    def encode(self) -> bytes:
        sizes = np.array(self._sizes, np.int64)
        data = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1).astype("<u8").tobytes()
        return data + crc(data)


def read_index(chunks: int, size: int, read: ReadAt, mark: bytes = b"") -> np.ndarray:
    """int64 [chunk, (first byte, bytes)] of a file of `size` bytes. Raises Damaged, also where a chunk is missing."""
    length = len(mark) + 16 * chunks + 4
    if size < length:
        raise Damaged(f"an index of {length} bytes, found {size} in all")
    end = read(size - length, length)
    places = np.frombuffer(checked(end[len(mark) :], "the index"), "<u8").reshape(-1, 2).astype(np.int64)
    ends = np.cumsum(places[:, 1])
    if (places[:, 1] < 4).any() or (places[:, 0] != ends - places[:, 1]).any() or ends[-1:].sum() != size - length:
        raise Damaged(f"{chunks} chunks one after another, found gaps")
    _compare(mark, end[: len(mark)])
    return places


def _compare(mark: bytes, found: bytes) -> None:
    if found != mark:
        raise Damaged("the file that belongs here, found another one, or an altered mark")


def checked(stored: _Bytes, what: str) -> _Bytes:
    """Bytes, or an array of them, without the checksum that follows them. Raises Damaged."""
    data = stored[:-4]
    if len(stored) < 4 or crc(data) != bytes(stored[-4:]):
        raise Damaged(f"{what} as it was written, found other bytes (checksum)")
    return data


def _zstd() -> Any:
    from numcodecs.zstd import Zstd

    return Zstd(level=1)

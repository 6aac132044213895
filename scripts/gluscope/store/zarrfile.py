"""Files of the zarr v3 format, written and read without a zarr library, which would take many times as long.

Every array is cut along one axis, its items (neurons, tokens, layers), into chunks that stand one after another in one
file: zarr's sharding codec with its index at the end. Every chunk and the index have a crc32c. Before the index stands
a mark of what the file is (see `Marks`), so that one under another's name is noticed. zarr-python, tensorstore and
xarray read these files; docs/decisions/stores.md has the reasons and times.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import google_crc32c
import numpy as np

from gluscope.core.schema import StoredArray
from gluscope.store.damage import Damaged

_Bytes = TypeVar("_Bytes", bytes, np.ndarray)
ReadAt = Callable[[int, int], bytes]  # (first byte, bytes) of a file
CHECKSUM = "metadata_crc32c"  # attribute of a group: of its zarr.json, without this attribute
MARKED = "files_marked"  # attribute of a group whose files have marks: what these are made with
_MARK_BYTES = 16
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC = {"name": "crc32c", "configuration": {}}
_ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
_KEYS = {"name": "v2", "configuration": {"separator": "."}}  # flat names: no folders inside an array's


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

    def decode(self, data: bytes, mark: bytes = b"") -> np.ndarray:
        """All items, [count, *item], from the bytes of the file. Raises Damaged."""
        places = read_index(self.chunks, len(data), lambda start, size: data[start : start + size], mark)
        out = np.empty((self.chunks, self.per_chunk * self.item_bytes), np.uint8)
        for number, (start, size) in enumerate(places.tolist()):
            out[number] = np.frombuffer(self._chunk(data[start : start + size], number), np.uint8)
        return out.reshape(-1).view(self.dtype).reshape(-1, *self.item)[: self.count]

    def decode_item(self, number: int, size: int, read: ReadAt, mark: bytes = b"") -> np.ndarray:
        """One item, [*item], of a file of `size` bytes. Raises Damaged."""
        return np.asarray(self.decode_range(number, number + 1, size, read, mark)[0])

    def decode_range(self, begin: int, end: int, size: int, read: ReadAt, mark: bytes = b"") -> np.ndarray:
        """Items `begin` to `end` - 1 of a file of `size` bytes. Raises Damaged.

        Chunks that are not compressed stand at equal distances: then their index, long in a large file, is not read.
        """
        first, last = begin // self.per_chunk, -(-end // self.per_chunk)
        if self.empty or begin >= end:
            return np.empty((0, *self.item), self.dtype)
        stored = self.per_chunk * self.item_bytes + 4
        if self.compressed:
            places = read_index(self.chunks, size, read, mark)[first:last].tolist()
        elif size != (whole := self.chunks * (stored + 16) + 4 + len(mark)):
            raise Damaged(f"{whole} bytes, found {size}")
        else:
            _compare(mark, read(self.chunks * stored, len(mark)) if mark else b"")
            places = [[number * stored, stored] for number in range(first, last)]
        data = read(places[0][0], sum(length for _, length in places))
        starts = [at - places[0][0] for at, _ in places]
        chunks = [
            self._chunk(data[start : start + length], number)
            for number, start, (_, length) in zip(range(first, last), starts, places, strict=True)
        ]
        items = np.frombuffer(b"".join(chunks), self.dtype).reshape(-1, *self.item)
        return items[begin - first * self.per_chunk : end - first * self.per_chunk]

    def _chunk(self, stored: bytes, number: int) -> bytes:
        data = checked(stored, f"chunk {number}")
        if self.compressed:
            data = self._unpacked(data, number)
        if len(data) != self.per_chunk * self.item_bytes:
            raise Damaged(f"{self.per_chunk * self.item_bytes} bytes in chunk {number}, found {len(data)}")
        return data

    def _unpacked(self, data: bytes, number: int) -> bytes:
        import pyarrow  # which pages need anyway, and which is imported in less time than numcodecs

        try:
            size = self.per_chunk * self.item_bytes
            return bytes(pyarrow.decompress(data, decompressed_size=size, codec="zstd", asbytes=True))
        except (OSError, pyarrow.ArrowException) as error:
            raise Damaged(f"chunk {number} in zstd, found other bytes ({error})") from error

    def document(self, stored: StoredArray, shape: Sequence[int], axis: int) -> dict[str, Any]:
        """zarr.json of an array of such files. axis: of the items; an axis before it has a file for each place."""
        inner, whole = ([1] * axis + [size, *(max(1, n) for n in self.item)] for size in self._sizes)
        sharding = {
            "chunk_shape": inner,
            "codecs": [_BYTES, _ZSTD, _CRC] if self.compressed else [_BYTES, _CRC],
            "index_codecs": [_BYTES, _CRC],
            "index_location": "end",
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
        return array_document(stored, shape, whole, codecs)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.per_chunk, max(1, self.chunks) * self.per_chunk


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


def array_document(
    stored: StoredArray, shape: Sequence[int], chunk: Sequence[int], codecs: list[dict[str, Any]]
) -> dict[str, Any]:
    """zarr.json of an array; `chunk` is the part of it that one file holds."""
    fill = "NaN" if stored.fill != stored.fill else stored.fill
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [int(size) for size in shape],
        "data_type": stored.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [int(size) for size in chunk]}},
        "chunk_key_encoding": _KEYS,
        "fill_value": fill,
        "codecs": codecs,
        "dimension_names": list(stored.dims),
        "attributes": {"unit": stored.unit, "meaning": stored.meaning},
    }


def label_document(name: str, count: int) -> dict[str, Any]:
    """zarr.json of a coordinate: the labels of dimension `name`."""
    stored = StoredArray((name,), "string", "", 0, f"labels of {name}")
    return array_document(stored, [count], [count], [{"name": "vlen-utf8"}, _CRC]) | {"fill_value": ""}


def encode_labels(labels: Sequence[str]) -> bytes:
    """The file of a coordinate: their number, then each with its length in bytes."""
    texts = [label.encode("utf-8") for label in labels]
    data = len(texts).to_bytes(4, "little") + b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return data + crc(data)


def folder_of(path: str | Path) -> Path:
    """The group's folder, given that folder or the zarr.json in it."""
    path = Path(path)
    return path.parent if path.name == "zarr.json" else path


def document_text(document: dict[str, Any]) -> bytes:
    """Content of a zarr.json."""
    return json.dumps(document, indent=1).encode()


class Group(NamedTuple):
    """What the zarr.json of a group says: its attributes, the zarr.json of every array, the marks of its files."""

    attributes: dict[str, Any]
    arrays: dict[str, dict[str, Any]]
    marks: Marks


def group_text(attributes: dict[str, Any], arrays: dict[str, dict[str, Any]]) -> bytes:
    """zarr.json of a group: its attributes, those of all its arrays, and a checksum of it all.

    The files must have the marks of `Marks.of_group(attributes)`.
    """
    consolidated = {"kind": "inline", "must_understand": False, "metadata": arrays}
    document = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {**attributes, MARKED: Marks.of_group(attributes).group},
        "consolidated_metadata": consolidated,
    }
    document["attributes"][CHECKSUM] = _checksum(json.loads(json.dumps(document)))  # type: ignore[index]
    return document_text(document)


def read_group(text: bytes) -> Group:
    """Read the zarr.json of a group. Raises Damaged."""
    try:
        document = json.loads(text.decode("utf-8"))
        attributes, arrays = document["attributes"], document["consolidated_metadata"]["metadata"]
        stored = attributes.pop(CHECKSUM)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"the metadata of a group, found something else ({type(error).__name__})") from error
    if stored != _checksum(document):
        raise Damaged("metadata as it was written, found other text (checksum)")
    return Group(attributes, arrays, Marks(attributes.pop(MARKED, "")))


def _checksum(document: Any) -> str:
    return crc(json.dumps(document, sort_keys=True).encode()).hex()


def _zstd() -> Any:
    from numcodecs.zstd import Zstd

    return Zstd(level=1)

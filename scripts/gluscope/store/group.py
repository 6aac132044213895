"""A zarr group: the one writer and the one reader of all that is stored as arrays of items (neurons, tokens, texts).

A group is a folder, or one zip file without compression. What is missing or altered is refused, never read as an empty
or another value: readers look at the group's zarr.json alone, which holds the metadata of all its arrays and a checksum
of it all, and at files with checksums (`store.zarrfile`). Labels and each array's own zarr.json are for other programs.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from gluscope.core.errors import StoreError
from gluscope.core.schema import StoredArray
from gluscope.store.atomic import new_file, new_folder
from gluscope.store.damage import MISSING, Damaged, refused, zip_damage
from gluscope.store.zarrfile import ItemFile, Marks, ReadAt, checked, crc, read_index

_CHECKSUM = "metadata_crc32c"  # attribute of a group: of its zarr.json, without this attribute
_MARKED = "files_marked"  # attribute of a group whose files have marks: what these are made with
_ZIP_CHUNK = 256 * 1024  # bytes: zip files are read by the layer
_NAME_LENGTH = 26  # place in an entry's header, whose last fields are the lengths of its name and of more
_DATE = (1980, 1, 1, 0, 0, 0)  # of every entry of a zip, so that equal values make equal files
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_CRC = {"name": "crc32c", "configuration": {}}
_ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}


@contextmanager
def new_group(
    path: str | Path, attributes: dict[str, Any], n_layers: int = 0, keep: Callable[[Path], bool] | None = None
) -> Iterator[GroupWriter]:
    """A group to fill; when the block ends well it gets its final name, else it goes away.

    path: ends in .zip for one file, else a folder (or its zarr.json). attributes: JSON. n_layers: of arrays that are
    written a layer at a time. keep: see `new_folder`. Raises StoreError if the disk is full.
    """
    with ExitStack() as stack:
        if Path(path).suffix == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(new_file(path)), "w"))
            group = GroupWriter(archive, attributes, n_layers)
        else:
            group = GroupWriter(stack.enter_context(new_folder(folder_of(path), keep)), attributes, n_layers)
        yield group
        group.finish()


class GroupWriter:
    """A group while it is written. marks: those that its files must have."""

    def __init__(self, place: Path | zipfile.ZipFile, attributes: dict[str, Any], n_layers: int) -> None:
        self._place, self._attributes, self._n_layers = place, attributes, n_layers
        self.marks = Marks.of_group(attributes)
        self._arrays: dict[str, dict[str, Any]] = {}

    def add(
        self,
        name: str,
        stored: StoredArray,
        values: np.ndarray,
        *,
        layer: int | None = None,
        per_chunk: int | None = None,
    ) -> None:
        """Write an array, [item, ...], or what it has of one layer, without the layer's axis. per_chunk: items."""
        file = self.declare(name, stored, values.shape, by_layer=layer is not None, per_chunk=per_chunk)
        key = file_key(name, layer or 0, len(stored.dims))
        if not file.empty:
            self._put(key, file.encode(values, self.marks.of(key)))

    def declare(
        self, name: str, stored: StoredArray, shape: Sequence[int], *, by_layer: bool, per_chunk: int | None = None
    ) -> ItemFile:
        """Note an array without writing its files, which the caller does. shape: without the layer's axis."""
        count, *item = shape
        if per_chunk is None:
            per_chunk = self._items_per_chunk(stored, shape, stored.dims[int(by_layer)] == "neuron")
        file = ItemFile(count, tuple(item), np.dtype(stored.dtype), per_chunk, stored.fill, stored.compressed)
        document = _document(stored, file, self._n_layers if by_layer else None)
        if self._arrays.setdefault(name, document) != document:
            raise ValueError(f"a layer of {name} of shape {tuple(shape)}, others {self._arrays[name]['shape'][1:]}")
        return file

    def _items_per_chunk(self, stored: StoredArray, shape: Sequence[int], neurons: bool) -> int:
        """Of neurons in a folder as many as make the fewest bytes for one: a chunk and the index of all chunks."""
        item_bytes = max(1, math.prod(shape[1:]) * np.dtype(stored.dtype).itemsize)
        zipped = isinstance(self._place, zipfile.ZipFile)
        best = _ZIP_CHUNK // item_bytes if zipped else round(math.sqrt(16 * shape[0] / item_bytes))
        return max(1, min(shape[0], best) if neurons else shape[0])

    def add_labels(self, name: str, labels: Sequence[str]) -> None:
        """A coordinate: the labels of dimension `name`. Its file: their number, then each with its length in bytes."""
        stored = StoredArray((name,), "string", "", 0, f"labels of {name}")
        document = _array_document(stored, [len(labels)], [len(labels)], [{"name": "vlen-utf8"}, _CRC])
        self._arrays[name] = document | {"fill_value": ""}
        texts = [label.encode("utf-8") for label in labels]
        data = len(texts).to_bytes(4, "little") + b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        self._put(f"{name}/0", [data, crc(data)])

    def file(self, key: str) -> Path:
        """Path of a file of a group in a folder."""
        assert isinstance(self._place, Path)
        (self._place / key).parent.mkdir(exist_ok=True)
        return self._place / key

    def finish(self) -> None:
        """Write the metadata."""
        for name, document in self._arrays.items():
            self._put(f"{name}/zarr.json", [_text(document)])
        self._put("zarr.json", [group_text(self._attributes, self._arrays)])

    def _put(self, key: str, parts: Iterable[bytes]) -> None:
        if isinstance(self._place, zipfile.ZipFile):
            with self._place.open(zipfile.ZipInfo(key, _DATE), "w", force_zip64=True) as entry:
                for part in parts:
                    entry.write(part)
        else:
            with open(self.file(key), "wb") as file:
                file.writelines(parts)


class Array(NamedTuple):
    """An array as its zarr.json describes it. part, chunk: shapes of what a file holds and of the chunks in it."""

    shape: tuple[int, ...]
    part: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    sharded: bool
    compressed: bool

    @classmethod
    def of(cls, document: dict[str, Any]) -> Array:
        part, codec = document["chunk_grid"]["configuration"]["chunk_shape"], document["codecs"][0]
        inner = codec["configuration"] if codec["name"] == "sharding_indexed" else {"chunk_shape": part, "codecs": []}
        return cls(
            shape=tuple(document["shape"]),
            part=tuple(part),
            chunk=tuple(inner["chunk_shape"]),
            dtype=document["data_type"],
            sharded=codec["name"] == "sharding_indexed",
            compressed=_ZSTD in inner["codecs"],
        )

    def files(self, name: str) -> Iterator[str]:
        """Names of its files; none where it holds no value."""
        counts = [range(-(-size // part)) for size, part in zip(self.shape, self.part, strict=True)]
        return (f"{name}/{'.'.join(map(str, place))}" for place in itertools.product(*counts))

    def check_file(self, size: int, read: ReadAt, mark: bytes) -> None:
        """Compare the checksums of a file. Raises Damaged."""
        if not self.sharded:
            checked(read(0, size), "the file")
            return
        chunks = math.prod(whole // part for whole, part in zip(self.part, self.chunk, strict=True))
        for number, (start, length) in enumerate(read_index(chunks, size, read, mark).tolist()):
            checked(read(start, length), f"chunk {number}")


class GroupReader:
    """A stored group. Opening it reads its metadata alone. In a `with` block its files stay open, else none does.

    kind: what it must be, such as "a summary", for the message where there is none. attributes: what its writer gave.
    arrays: shape and layout of each. bytes_read: of files of arrays, so far. Every method raises
    StoreError for what is missing or damaged.
    """

    def __init__(self, path: str | Path, kind: str) -> None:
        self.path = folder_of(path)
        self.bytes_read = 0
        self._kept: dict[Path, int] | None = None
        file = self.path if self.path.suffix == ".zip" else self.path / "zarr.json"
        if not file.is_file():
            raise StoreError(str(self.path), kind, "no such file", MISSING)
        with refused(self.path, "zarr.json"):
            self._entries = _entries(self.path) if file == self.path else None
            with self._opened("zarr.json") as (size, read):
                self.attributes, documents, self.marks = read_group(read(0, size))
            self.arrays = {name: Array.of(document) for name, document in documents.items()}
        self.bytes_read = 0

    def read(self, name: str, layer: int | None = None) -> np.ndarray:
        """An array, or what it has of one layer."""
        return self._part(name, layer, None)

    def part(self, name: str, begin: int, end: int, layer: int | None = None) -> np.ndarray:
        """Items `begin` to `end` - 1 of the same."""
        return self._part(name, layer, (begin, end))

    def layout(self, name: str, layer: int | None = None) -> ItemFile:
        """How a file of an array is laid out."""
        axis, array = int(layer is not None), self.arrays[name]
        count, *item = array.shape[axis:]
        return ItemFile(count, tuple(item), np.dtype(array.dtype), array.chunk[axis], 0, array.compressed)

    def check(self) -> None:
        """Compare the checksums of all files of all arrays."""
        for name, array in self.arrays.items():
            for key in array.files(name):
                with refused(self.path, key), self._opened(key) as (size, read):
                    array.check_file(size, read, self.marks.of(key))

    def close(self) -> None:
        for handle in (self._kept or {}).values():
            os.close(handle)
        self._kept = None

    def __enter__(self) -> Self:
        self._kept = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _part(self, name: str, layer: int | None, part: tuple[int, int] | None) -> np.ndarray:
        with refused(self.path, name):
            key = file_key(name, layer or 0, len(self.arrays[name].shape))
        with refused(self.path, key):
            file = self.layout(name, layer)
            begin, end = part or (0, file.count)
            if not 0 <= begin <= end <= file.count:
                raise Damaged(f"at most {file.count} of them, found {begin} to {end}")
            if file.empty or begin == end:
                return np.zeros((end - begin, *file.item), file.dtype)
            with self._opened(key) as (size, read):
                return file.decode(begin, end, size, read, self.marks.of(key))

    @contextmanager
    def _opened(self, key: str) -> Iterator[tuple[int, ReadAt]]:
        """A file of the group: its size, and what reads bytes of it."""
        path, first = (self.path / key, 0) if self._entries is None else (self.path, self._entries[key][0])
        handle = (self._kept or {}).get(path)
        if handle is None:
            handle = os.open(path, os.O_RDONLY)
            if self._kept is not None:
                self._kept[path] = handle

        def read(start: int, size: int) -> bytes:
            found = os.pread(handle, size, first + start)
            self.bytes_read += len(found)
            return found

        try:
            yield os.fstat(handle).st_size if self._entries is None else self._entries[key][1], read
        finally:
            if self._kept is None:
                os.close(handle)


def _entries(path: Path) -> dict[str, tuple[int, int]]:
    """Where the entries of a zip file without compression stand in it: first byte and bytes. Raises Damaged."""
    with zip_damage("a whole zip file"), zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        found = {}
        for entry in archive.infolist():
            file.seek(entry.header_offset + _NAME_LENGTH)
            name, extra = struct.unpack("<HH", file.read(4))
            found[entry.filename] = file.tell() + name + extra, entry.file_size
        return found


def folder_of(path: str | Path) -> Path:
    """The group's folder, given that folder or the zarr.json in it."""
    path = Path(path)
    return path.parent if path.name == "zarr.json" else path


def file_key(name: str, layer: int, dimensions: int) -> str:
    """Name of a file of an array in its group: of a layer, or (0) of an array in one file."""
    return f"{name}/{'.'.join([str(layer), *['0'] * (dimensions - 1)])}"


def _document(stored: StoredArray, file: ItemFile, n_layers: int | None) -> dict[str, Any]:
    """zarr.json of an array of such files: one a layer, or one."""
    before = [] if n_layers is None else [1]
    rest = [max(1, size) for size in file.item]
    sharding = {
        "chunk_shape": [*before, file.per_chunk, *rest],
        "codecs": [_BYTES, _ZSTD, _CRC] if file.compressed else [_BYTES, _CRC],
        "index_codecs": [_BYTES, _CRC],
        "index_location": "end",
    }
    whole = [*before, max(1, file.chunks) * file.per_chunk, *rest]
    shape = [file.count, *file.item] if n_layers is None else [n_layers, file.count, *file.item]
    return _array_document(stored, shape, whole, [{"name": "sharding_indexed", "configuration": sharding}])


def _array_document(
    stored: StoredArray, shape: Sequence[int], chunk: Sequence[int], codecs: list[dict[str, Any]]
) -> dict[str, Any]:
    """zarr.json of an array; `chunk` is the part of it that one file holds."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [int(size) for size in shape],
        "data_type": stored.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [int(size) for size in chunk]}},
        "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},  # flat names: no folders inside
        "fill_value": "NaN" if stored.fill != stored.fill else stored.fill,
        "codecs": codecs,
        "dimension_names": list(stored.dims),
        "attributes": {"unit": stored.unit, "meaning": stored.meaning},
    }


def group_text(attributes: dict[str, Any], arrays: dict[str, dict[str, Any]]) -> bytes:
    """zarr.json of a group: its attributes, the metadata of all its arrays, and a checksum of it all.

    The files must have the marks of `Marks.of_group(attributes)`.
    """
    document: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {**attributes, _MARKED: Marks.of_group(attributes).group},
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": arrays},
    }
    document["attributes"][_CHECKSUM] = _checksum(json.loads(json.dumps(document)))
    return _text(document)


def read_group(text: bytes) -> tuple[dict[str, Any], dict[str, dict[str, Any]], Marks]:
    """Attributes, the zarr.json of every array and the files' marks, from the zarr.json of a group. Raises Damaged."""
    try:
        document = json.loads(text.decode("utf-8"))
        attributes, arrays = document["attributes"], document["consolidated_metadata"]["metadata"]
        stored = attributes.pop(_CHECKSUM)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"the metadata of a group, found something else ({type(error).__name__})") from error
    if stored != _checksum(document):
        raise Damaged("metadata as it was written, found other text (checksum)")
    return attributes, arrays, Marks(attributes.pop(_MARKED, ""))


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1).encode()


def _checksum(document: Any) -> str:
    return crc(json.dumps(document, sort_keys=True).encode()).hex()

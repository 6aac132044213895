"""Statistics of all neurons as a zarr group: of a shard in one zip file, of a run in a folder.

Both open in zarr and xarray. Layers are written and read one at a time. Every chunk is written and has a checksum, as
the metadata have: what is missing or altered is refused, never read as an empty or another value.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.cases import CASES, QUANTITIES
from gluscope.core.errors import StoreError
from gluscope.core.schema import PER_RUN, SUMMARY, StoredArray
from gluscope.store.atomic import new_file, new_folder
from gluscope.store.damage import MISSING, Damaged, refused
from gluscope.store.zarrfile import (
    ItemFile,
    Marks,
    document_text,
    encode_labels,
    folder_of,
    group_text,
    label_document,
    read_group,
)
from gluscope.summary.types import LayerSummary, SampleTokens

_ZIP_CHUNK = 256 * 1024  # bytes: shards are read by the layer
_LABELS = {"case": [case.value for case in CASES], "quantity": [quantity.value for quantity in QUANTITIES]}
_DATE = (1980, 1, 1, 0, 0, 0)  # of every entry of a zip, so that equal statistics make equal files
_Put = Callable[[str, Iterable[bytes]], None]


def write_summary(
    path: str | Path,
    layers: Iterable[LayerSummary],
    *,
    n_layers: int,
    sample: SampleTokens,
    attributes: dict[str, Any],
    sign: np.ndarray | None = None,
) -> None:
    """Write the statistics of `n_layers` layers, which come one at a time. Whole or not at all.

    path: ends in .zip for one file, else a folder (or its zarr.json). sign: int8 [layer, neuron]. attributes: JSON.
    Memory: about two layers. Raises StoreError if the disk is full.
    """
    with ExitStack() as stack:
        zipped = Path(path).suffix == ".zip"
        if zipped:
            put = _into_zip(stack.enter_context(zipfile.ZipFile(stack.enter_context(new_file(path)), "w")))
        else:
            put = _into_folder(stack.enter_context(new_folder(folder_of(path))))
        marks = Marks.of_group(attributes)
        documents = _write_layers(put, layers, n_layers, zipped, marks)
        per_run = {"sample_example": sample.example, "sample_position": sample.position, "sign": sign}
        for name, values in per_run.items():
            if values is not None:
                per_chunk = 1 if name == "sign" else max(1, len(values))
                file = _item_file(PER_RUN[name], values.shape, per_chunk)
                documents[name] = file.document(PER_RUN[name], values.shape, axis=0)
                if not file.empty:
                    key = f"{name}/{_key(0, values.ndim)}"
                    put(key, file.encode(values, marks.of(key)))
        for name, labels in _LABELS.items():
            documents[name] = label_document(name, len(labels))
            put(f"{name}/0", [encode_labels(labels)])
        for name, document in documents.items():
            put(f"{name}/zarr.json", [document_text(document)])
        put("zarr.json", [group_text(attributes, documents)])


def _write_layers(
    put: _Put, layers: Iterable[LayerSummary], n_layers: int, zipped: bool, marks: Marks
) -> dict[str, dict[str, Any]]:
    """The files of all layers; returns the zarr.json of every array."""
    shapes: dict[str, tuple[int, ...]] = {}
    written = 0
    for layer, summary in enumerate(layers):
        found = {name: getattr(summary, name).shape for name in SUMMARY}
        if found != (shapes := shapes or found):
            raise ValueError(f"layer {layer} of shape {found}, others {shapes}")
        for name, stored in SUMMARY.items():
            file = _item_file(stored, found[name], _neurons_per_chunk(stored, found[name], zipped))
            if not file.empty:
                key = f"{name}/{_key(layer, len(stored.dims))}"
                put(key, file.encode(getattr(summary, name), marks.of(key)))
        written += 1
    if written != n_layers:
        raise ValueError(f"{written} layers given, {n_layers} announced")
    return {
        name: _item_file(stored, shapes[name], _neurons_per_chunk(stored, shapes[name], zipped)).document(
            stored, (n_layers, *shapes[name]), axis=1
        )
        for name, stored in SUMMARY.items()
    }


def _neurons_per_chunk(stored: StoredArray, shape: tuple[int, ...], zipped: bool) -> int:
    """In a folder as many as make the fewest bytes for one neuron, which takes a chunk and the index of all chunks."""
    item_bytes = max(1, math.prod(shape[1:]) * np.dtype(stored.dtype).itemsize)
    best = _ZIP_CHUNK // item_bytes if zipped else round(math.sqrt(16 * shape[0] / item_bytes))
    return max(1, min(shape[0], best))


def _item_file(stored: StoredArray, shape: tuple[int, ...], per_chunk: int) -> ItemFile:
    """Whole numbers are compressed: rows and positions to a third. Activations would save a tenth, and are not."""
    dtype = np.dtype(stored.dtype)
    return ItemFile(shape[0], shape[1:], dtype, per_chunk, stored.fill, dtype.kind == "i" and dtype.itemsize > 1)


def _key(first: int, dimensions: int) -> str:
    return ".".join([str(first), *["0"] * (dimensions - 1)])


def _into_folder(folder: Path) -> _Put:
    def put(name: str, parts: Iterable[bytes]) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        with open(folder / name, "wb") as file:
            file.writelines(parts)

    return put


def _into_zip(archive: zipfile.ZipFile) -> _Put:
    def put(name: str, parts: Iterable[bytes]) -> None:
        with archive.open(zipfile.ZipInfo(name, _DATE), "w", force_zip64=True) as file:
            for part in parts:
                file.write(part)

    return put


class SummaryReader:
    """A stored summary. Opening it reads its metadata alone; no file stays open.

    attributes: what its writer gave. bytes_read: of array files of a folder, so far.
    Every method raises StoreError for what is missing or damaged, IndexError for a layer or neuron that is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.zipped = Path(path).suffix == ".zip"
        self.path = Path(path) if self.zipped else folder_of(path)
        if not (self.path if self.zipped else self.path / "zarr.json").is_file():
            raise StoreError(str(path), "a summary", "no such file", MISSING)
        self.bytes_read = 0
        with refused(self.path, "zarr.json"):
            self.attributes, self._arrays, self._marks = read_group(self._whole("zarr.json"))
            self._shapes = {name: tuple(document["shape"]) for name, document in self._arrays.items()}
            self.n_layers, self.neurons = self._shapes["count"][:2]

    def layer(self, layer: int) -> LayerSummary:
        """The statistics of one layer."""
        self._check(layer, 0, self.neurons == 0)
        return LayerSummary(**{name: self._read(name, layer) for name in SUMMARY})

    def neuron(self, layer: int, neuron: int) -> LayerSummary:
        """The statistics of one neuron, as a layer of one."""
        self._check(layer, neuron)
        return LayerSummary(**{name: self._read(name, layer, neuron)[None] for name in SUMMARY})

    def sample(self) -> SampleTokens:
        """The tokens of the sample."""
        return SampleTokens(self._read("sample_example", None), self._read("sample_position", None))

    def sign(self) -> np.ndarray:
        """int8 [layer, neuron]; only a whole run's summary has it."""
        if "sign" not in self._arrays:
            raise StoreError(str(self.path), "the summary of a whole run", "a shard's, without `sign`", MISSING)
        return self._read("sign", None)

    def _check(self, layer: int, neuron: int, any_neuron: bool = False) -> None:
        if not (0 <= layer < self.n_layers and (any_neuron or 0 <= neuron < self.neurons)):
            raise IndexError(f"L{layer}/N{neuron} of {self.n_layers} layers of {self.neurons} neurons")

    def _read(self, name: str, layer: int | None, item: int | None = None) -> np.ndarray:
        """An array of the run, or of one layer, or one neuron's part of that."""
        stored, shape = {**SUMMARY, **PER_RUN}[name], self._shapes[name]
        key = f"{name}/{_key(layer or 0, len(shape))}"
        with refused(self.path, key):
            axis = 0 if layer is None else 1
            codec = self._arrays[name]["codecs"][0]["configuration"]
            file = _item_file(stored, shape[axis:], codec["chunk_shape"][axis])
            if file.empty:
                empty = np.zeros((file.count, *file.item), file.dtype)
                return empty if item is None else empty[item]
            if item is None:
                return file.decode(self._whole(key), self._marks.of(key))
            with self._partly(key) as (size, read):
                return file.decode_item(item, size, read, self._marks.of(key))

    def _whole(self, name: str) -> bytes:
        if not self.zipped:
            data = (self.path / name).read_bytes()
            self.bytes_read += len(data)
            return data
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name)
        except (KeyError, MemoryError):
            raise
        except Exception as error:  # what zipfile raises for altered archives has no common class
            raise Damaged(f"a whole zip file, found damage ({' '.join(str(error).split())[:200]})") from error

    @contextmanager
    def _partly(self, name: str) -> Iterator[tuple[int, Callable[[int, int], bytes]]]:
        if self.zipped:
            data = self._whole(name)
            yield len(data), lambda start, size: data[start : start + size]
            return
        with open(self.path / name, "rb", buffering=0) as file:

            def read(start: int, size: int) -> bytes:
                found = os.pread(file.fileno(), size, start)
                self.bytes_read += len(found)
                return found

            yield os.fstat(file.fileno()).st_size, read


def read_attributes(path: str | Path) -> dict[str, Any]:
    """The attributes of a summary."""
    return SummaryReader(path).attributes


def read_layer(path: str | Path, layer: int) -> LayerSummary:
    """The statistics of one layer."""
    return SummaryReader(path).layer(layer)


def read_layers(path: str | Path) -> Iterator[LayerSummary]:
    """All layers, one after another."""
    reader = SummaryReader(path)
    return (reader.layer(layer) for layer in range(reader.n_layers))


def read_sample(path: str | Path) -> SampleTokens:
    """The tokens of the sample."""
    return SummaryReader(path).sample()


def read_sign(path: str | Path) -> np.ndarray:
    """int8 [layer, neuron] of a run's summary."""
    return SummaryReader(path).sign()


def read_neuron(path: str | Path, layer: int, neuron: int) -> LayerSummary:
    """The statistics of one neuron, as a layer of one."""
    return SummaryReader(path).neuron(layer, neuron)

"""Weight statistics of all neurons as a zarr group: a file an array and layer, cut inside into chunks of some neurons.

Written and read by `store.zarrfile`, as the summary is: zarr, tensorstore and xarray open it; every chunk and the
metadata have a checksum; what is missing or altered is refused.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import StoreError, WrongFile
from gluscope.core.schema import WEIGHTS, StoredArray
from gluscope.store.atomic import new_folder
from gluscope.store.damage import MISSING, refused, to_redo
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
from gluscope.weights.classes import RW_CLASSES
from gluscope.weights.types import CONVENTIONS, COSINES, QUANTILES, VECTORS, LayerWeights, NeuronWeights, one_neuron

_LABELS: dict[str, list[str]] = {
    "pair": [kind.value for kind in COSINES],
    "vector": [vector.value for vector in VECTORS],
    "end": ["top", "bottom"],
    "convention": list(CONVENTIONS),
    "rw_class_name": [kind.label for kind in RW_CLASSES],
}
_QUANTILE = StoredArray(("quantile",), "float64", "", 0.0, "share of the cosines that are smaller")
_OF_LAYER = [name for name, stored in WEIGHTS.items() if stored.dims[0] == "layer"]
_OF_NEURON = [name for name in _OF_LAYER if WEIGHTS[name].dims[1] == "neuron"]


def write_weights(
    path: str | Path, layers: Sequence[LayerWeights], chance_random: np.ndarray, attributes: dict[str, Any]
) -> None:
    """Write all layers of a model; whole or not at all. path: the group's folder, or the zarr.json in it."""
    documents: dict[str, dict[str, Any]] = {}
    marks = Marks.of_group(attributes)
    with new_folder(folder_of(path)) as folder:
        for name in _OF_LAYER:
            for number, layer in enumerate(layers):
                values = getattr(layer, name)
                file = _layout(WEIGHTS[name], values.shape)
                _write(folder, f"{name}/{_key(number, values.ndim + 1)}", file, values, marks)
                documents[name] = file.document(WEIGHTS[name], (len(layers), *values.shape), axis=1)
        for name, stored, values in (
            ("chance_random", WEIGHTS["chance_random"], chance_random),
            ("quantile", _QUANTILE, np.array(QUANTILES)),
        ):
            file = _layout(stored, values.shape)
            _write(folder, f"{name}/0", file, values, marks)
            documents[name] = file.document(stored, values.shape, axis=0)
        for name, labels in _LABELS.items():
            documents[name] = label_document(name, len(labels))
            (folder / name).mkdir()
            (folder / name / "0").write_bytes(encode_labels(labels))
        for name, document in documents.items():
            (folder / name / "zarr.json").write_bytes(document_text(document))
        (folder / "zarr.json").write_bytes(group_text(attributes, documents))


class WeightsReader:
    """Stored weight statistics. Opening them reads the metadata alone; no file stays open.

    Every method raises StoreError for what is missing or damaged, IndexError for a layer or neuron that is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = folder_of(path)
        if not (self.folder / "zarr.json").is_file():
            raise StoreError(str(path), "weight statistics", "no such file", MISSING)
        with refused(self.folder, "zarr.json"):
            self.attributes, self._arrays, self._marks = read_group((self.folder / "zarr.json").read_bytes())
            self._shapes = {name: tuple(document["shape"]) for name, document in self._arrays.items()}
            self.n_layers, self.neurons = self._shapes["sign"]

    @classmethod
    def of_run(cls, path: str | Path, about: Mapping[str, Any]) -> WeightsReader:
        """Those of a run; raises WrongFile where they are another model's. about: attributes of its summary."""
        reader, key = cls(path), "model_revision"
        if reader.attributes.get(key) != about.get(key):
            expected, found = f"{key} {about.get(key)} as in the summary", str(reader.attributes.get(key))
            raise to_redo(WrongFile, reader.folder, str(reader.folder), expected, found)
        return reader

    def neuron(self, layer: int, neuron: int) -> NeuronWeights:
        """The weight statistics of one neuron."""
        self._check(layer, neuron)
        parts = {name: self._read(name, layer, neuron)[None] for name in _OF_NEURON}
        part = LayerWeights(**parts, chance=self._read("chance", layer))
        return one_neuron(part, layer, neuron, self._read("chance_random", None))

    def layer(self, layer: int) -> LayerWeights:
        """The weight statistics of one layer."""
        self._check(layer, 0)
        return LayerWeights(**{name: self._read(name, layer) for name in _OF_LAYER})

    def _check(self, layer: int, neuron: int) -> None:
        if not (0 <= layer < self.n_layers and 0 <= neuron < self.neurons):
            raise IndexError(f"L{layer}/N{neuron} of {self.n_layers} layers of {self.neurons} neurons")

    def _read(self, name: str, layer: int | None, item: int | None = None) -> np.ndarray:
        """An array of the model, or of one layer, or one neuron's part of that."""
        key = f"{name}/{_key(layer or 0, len(self._shapes[name]))}"
        with refused(self.folder, key):
            axis = 0 if layer is None else 1
            per_chunk = self._arrays[name]["codecs"][0]["configuration"]["chunk_shape"][axis]
            file = _layout(WEIGHTS[name], self._shapes[name][axis:], per_chunk)
            mark = self._marks.of(key)
            if item is None:
                return file.decode((self.folder / key).read_bytes(), mark)
            with open(self.folder / key, "rb", buffering=0) as handle:
                number = handle.fileno()
                size = os.fstat(number).st_size
                return file.decode_item(item, size, lambda at, length: os.pread(number, length, at), mark)


def _layout(stored: StoredArray, shape: tuple[int, ...], per_chunk: int | None = None) -> ItemFile:
    """Of the file of one layer (or of an array without layers), the first axis of `shape` cut into chunks.

    By default as many items to a chunk as make the fewest bytes for one, which takes a chunk and all chunks' index.
    """
    dtype = np.dtype(stored.dtype)
    if per_chunk is None:
        item_bytes = max(1, math.prod(shape[1:]) * dtype.itemsize)
        by_neuron = "neuron" in stored.dims
        per_chunk = max(1, min(shape[0], round(math.sqrt(16 * shape[0] / item_bytes)) if by_neuron else shape[0]))
    return ItemFile(shape[0], shape[1:], dtype, per_chunk, stored.fill, dtype.kind == "i")


def _write(folder: Path, key: str, file: ItemFile, values: np.ndarray, marks: Marks) -> None:
    path = folder / key
    path.parent.mkdir(exist_ok=True)
    with open(path, "wb") as handle:
        handle.writelines(file.encode(values, marks.of(key)))


def _key(first: int, dimensions: int) -> str:
    return ".".join([str(first), *["0"] * (dimensions - 1)])

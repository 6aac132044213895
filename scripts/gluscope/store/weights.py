"""Weight statistics of all neurons as a zarr group: one file an array, cut inside into chunks of some neurons.

zarr, tensorstore and xarray open it. Every chunk has a checksum, and every chunk is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import StoreError
from gluscope.core.schema import WEIGHTS, StoredArray
from gluscope.store.atomic import new_folder
from gluscope.store.zarrfile import folder_of
from gluscope.weights.classes import RW_CLASSES
from gluscope.weights.types import (
    CONVENTIONS,
    COSINES,
    QUANTILES,
    VECTORS,
    LayerWeights,
    NeuronWeights,
    one_neuron,
)

_CHUNK_BYTES = 32 * 1024
_DAMAGED = "remove it and run the same command again: only it is made anew"
_LABELS: dict[str, list[str]] = {
    "pair": [kind.value for kind in COSINES],
    "vector": [vector.value for vector in VECTORS],
    "end": ["top", "bottom"],
    "convention": list(CONVENTIONS),
    "rw_class_name": [kind.label for kind in RW_CLASSES],
}
_OF_LAYER = [name for name, stored in WEIGHTS.items() if stored.dims[0] == "layer"]


def write_weights(
    path: str | Path, layers: Sequence[LayerWeights], chance_random: np.ndarray, attributes: dict[str, Any]
) -> None:
    """Write all layers of a model; whole or not at all. path: the group's folder, or the zarr.json in it."""
    import zarr

    with new_folder(folder_of(path)) as temporary, zarr.config.set({"array.write_empty_chunks": True}):
        group = zarr.create_group(zarr.storage.LocalStore(temporary), attributes=attributes)
        for name in _OF_LAYER:
            _write(group, name, WEIGHTS[name], np.stack([getattr(layer, name) for layer in layers]))
        _write(group, "chance_random", WEIGHTS["chance_random"], chance_random)
        quantile = StoredArray(("quantile",), "float64", "", 0.0, "share of the cosines that are smaller")
        _write(group, "quantile", quantile, np.array(QUANTILES))
        for name, labels in _LABELS.items():
            array = group.create_array(name, shape=(len(labels),), dtype="str", dimension_names=[name])
            array[:] = np.array(labels, dtype=object)


def _write(group: Any, name: str, stored: StoredArray, values: np.ndarray) -> None:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    whole = inner = tuple(max(1, size) for size in values.shape)
    if stored.dims[:2] == ("layer", "neuron"):
        row_bytes = max(1, int(np.prod(whole[2:], dtype=np.int64)) * values.dtype.itemsize)
        neurons = min(whole[1], max(1, _CHUNK_BYTES // row_bytes))
        inner = (1, neurons, *whole[2:])
        whole = (whole[0], -(-whole[1] // neurons) * neurons, *whole[2:])
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=stored.dtype,
        fill_value=stored.fill,
        dimension_names=list(stored.dims),
        attributes={"unit": stored.unit, "meaning": stored.meaning},
        chunk_key_encoding={"name": "v2", "separator": "."},
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        chunks=inner,
        shards=whole,
    )
    array[...] = values


def read_neuron_weights(path: str | Path, layer: int, neuron: int) -> NeuronWeights:
    """The weight statistics of one neuron; quick, and without zarr-python.

    Raises StoreError for files that are missing or damaged, IndexError for a neuron that the model lacks.
    """
    with _refusing_damage(path):
        opened = _open(path)
        n_layers, d_mlp = opened["sign"].shape
        if not (0 <= layer < n_layers and 0 <= neuron < d_mlp):
            raise IndexError(f"L{layer}/N{neuron} of {n_layers} layers of {d_mlp} neurons")
        reads = {
            name: opened[name][layer, neuron if WEIGHTS[name].dims[1] == "neuron" else slice(None)].read()
            for name in _OF_LAYER
        }
        parts = {name: np.asarray(read.result()) for name, read in reads.items()}
        part = LayerWeights(**{name: values if name == "chance" else values[None] for name, values in parts.items()})
        return one_neuron(part, layer, neuron, np.asarray(opened["chance_random"].read().result()))


def read_layer_weights(path: str | Path, layer: int) -> LayerWeights:
    """The weight statistics of one layer. Raises as `read_neuron_weights` does."""
    with _refusing_damage(path):
        opened = _open(path)
        reads = {name: opened[name][layer].read() for name in _OF_LAYER}
        return LayerWeights(**{name: np.asarray(read.result()) for name, read in reads.items()})


def read_weights_attributes(path: str | Path) -> dict[str, Any]:
    """Attributes of the group: model, revision, versions."""
    with _refusing_damage(path):
        text = (folder_of(path) / "zarr.json").read_text(encoding="utf-8")
        attributes: dict[str, Any] = json.loads(text)["attributes"]
        return attributes


def _open(path: str | Path) -> dict[str, Any]:
    """All arrays, opened by tensorstore; after a look that each has its file: a missing one would read as empty."""
    import tensorstore

    folder = folder_of(path).resolve()
    if not (folder / "zarr.json").is_file():
        raise StoreError(str(path), "weight statistics", "no such file", "run the command that makes it")
    spec = {"driver": "zarr3", "open": True}
    opened = {
        name: tensorstore.open(spec | {"kvstore": {"driver": "file", "path": f"{folder / name}/"}}) for name in WEIGHTS
    }
    arrays = {name: array.result() for name, array in opened.items()}
    for name, array in arrays.items():
        key = ".".join(["0"] * len(array.shape))
        if 0 not in array.shape and not (folder / name / key).is_file():
            raise StoreError(str(path), f"its part {name}/{key}", "nothing there", _DAMAGED)
    return arrays


@contextmanager
def _refusing_damage(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (StoreError, MemoryError, IndexError):
        raise
    except FileNotFoundError as error:
        raise StoreError(str(path), "weight statistics", "no such file", "run the command that makes it") from error
    except Exception as error:  # tensorstore raises ValueError and others for damage
        found = " ".join(str(error).split())[:200] or type(error).__name__
        raise StoreError(str(path), "whole weight statistics", f"damage ({found})", _DAMAGED) from error

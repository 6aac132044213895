"""Statistics of all neurons as a zarr group: of a shard in one zip file, of a run in a folder.

Both open in zarr and xarray. Layers are written and read one at a time. Every chunk has a checksum, and every chunk is
written, so that a missing one is damage and not an empty one.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.cases import CASES, QUANTITIES
from gluscope.core.errors import StoreError
from gluscope.core.schema import PER_RUN, SUMMARY, StoredArray
from gluscope.store.atomic import new_file, new_folder
from gluscope.summary.types import LayerSummary, SampleTokens

_CHUNK_BYTES = 32 * 1024  # of one inner chunk: what a page reads of each array is one of these
_DAMAGED = "remove it and run the same command again: only it is made anew"


def folder_of(path: str | Path) -> Path:
    """The group's folder, given that folder or the zarr.json in it."""
    path = Path(path)
    return path.parent if path.name == "zarr.json" else path


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

    path: ends in .zip for one file, else a folder (or its zarr.json). sign: int8 [layer, neuron].
    """
    import zarr

    zipped = Path(path).suffix == ".zip"
    with new_file(path) if zipped else new_folder(folder_of(path)) as temporary:
        store: Any = zarr.storage.ZipStore(temporary, mode="w") if zipped else zarr.storage.LocalStore(temporary)
        with zarr.config.set({"array.write_empty_chunks": True}):
            try:
                _write(zarr.create_group(store, attributes=attributes), layers, n_layers, sample, sign, zipped)
                if not zipped:
                    _consolidate(store)
            finally:
                store.close()


def _write(
    group: Any,
    layers: Iterable[LayerSummary],
    n_layers: int,
    sample: SampleTokens,
    sign: np.ndarray | None,
    zipped: bool,
) -> None:
    arrays: dict[str, Any] = {}
    written = 0
    for layer, summary in enumerate(layers):
        if not arrays:
            arrays = {
                name: _create(group, name, stored, (n_layers, *getattr(summary, name).shape), zipped)
                for name, stored in SUMMARY.items()
            }
        for name, array in arrays.items():
            if array.size:
                array[layer] = getattr(summary, name)
        written += 1
    if written != n_layers:
        raise ValueError(f"{written} layers given, {n_layers} announced")
    per_run = {"sample_example": sample.example, "sample_position": sample.position, "sign": sign}
    for name, values in per_run.items():
        if values is not None:
            _create(group, name, PER_RUN[name], values.shape, zipped)[...] = values
    for name, labels in (("case", CASES), ("quantity", QUANTITIES)):
        array = group.create_array(name, shape=(len(labels),), dtype="str", dimension_names=[name])
        array[:] = np.array([label.value for label in labels], dtype=object)


def _consolidate(store: Any) -> None:
    """Keep all metadata in one file as well, so that xarray opens the group at once."""
    import zarr

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*onsolidated metadata.*")
        zarr.consolidate_metadata(store)


def _create(group: Any, name: str, stored: StoredArray, shape: tuple[int, ...], zipped: bool) -> Any:
    """An empty array: one stored object a layer, cut inside into chunks of some neurons."""
    from zarr.codecs import Crc32cCodec, ZstdCodec

    if stored.dims[0] == "layer":
        row_bytes = max(1, int(np.prod(shape[2:], dtype=np.int64)) * np.dtype(stored.dtype).itemsize)
        neurons = min(max(1, shape[1]), max(1, _CHUNK_BYTES // row_bytes))
        whole = (1, -(-shape[1] // neurons) * neurons, *(max(1, size) for size in shape[2:]))
        inner = (1, neurons, *whole[2:])
    else:
        whole = inner = tuple(max(1, size) for size in shape)
    layout: dict[str, Any] = {"chunks": whole} if zipped else {"chunks": inner, "shards": whole}
    return group.create_array(
        name,
        shape=shape,
        dtype=stored.dtype,
        fill_value=stored.fill,
        dimension_names=list(stored.dims),
        attributes={"unit": stored.unit, "meaning": stored.meaning},
        chunk_key_encoding={"name": "v2", "separator": "."},
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
        **layout,
    )


@contextmanager
def _refusing_damage(path: str | Path) -> Iterator[None]:
    try:
        yield
    except (StoreError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise StoreError(str(path), "a summary", "no such file", "run the command that makes it") from error
    except Exception as error:  # zarr, zip and codecs have no common class of errors for damage
        found = " ".join(str(error).split())[:200] or type(error).__name__
        raise StoreError(str(path), "a whole summary", f"damage ({found})", _DAMAGED) from error


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    import zarr

    with _refusing_damage(path):
        if Path(path).suffix == ".zip":
            store: Any = zarr.storage.ZipStore(path, mode="r")
        else:
            store = zarr.storage.LocalStore(folder_of(path), read_only=True)
        try:
            yield zarr.open_group(store, mode="r")
        finally:
            store.close()


def read_attributes(path: str | Path) -> dict[str, Any]:
    """The attributes of a summary, without opening an array."""
    with _refusing_damage(path):
        if Path(path).suffix == ".zip":
            with zipfile.ZipFile(path) as file:
                text = file.read("zarr.json").decode("utf-8")
        else:
            text = (folder_of(path) / "zarr.json").read_text(encoding="utf-8")
        attributes: dict[str, Any] = json.loads(text)["attributes"]
        return attributes


def _whole(path: str | Path, group: Any, name: str, layer: int | None = None) -> Any:
    """An array, after a look that what will be read is there: zarr takes what is missing for empty."""
    array = group[name]
    key = ".".join(["0" if layer is None else str(layer), *["0"] * (array.ndim - 1)])
    names = group.store._zf.namelist() if Path(path).suffix == ".zip" else None
    there = f"{name}/{key}" in names if names is not None else (folder_of(path) / name / key).is_file()
    if array.size and not there:
        raise StoreError(str(path), f"its part {name}/{key}", "nothing there", _DAMAGED)
    return array


def read_layer(path: str | Path, layer: int) -> LayerSummary:
    """The statistics of one layer. Raises StoreError if the file is missing or damaged."""
    with _opened(path) as group:
        return LayerSummary(**{name: np.asarray(_whole(path, group, name, layer)[layer]) for name in SUMMARY})


def read_layers(path: str | Path) -> Iterator[LayerSummary]:
    """All layers, one after another."""
    with _opened(path) as group:
        for layer in range(group["count"].shape[0]):
            yield LayerSummary(**{name: np.asarray(_whole(path, group, name, layer)[layer]) for name in SUMMARY})


def read_sample(path: str | Path) -> SampleTokens:
    """The tokens of the sample."""
    with _opened(path) as group:
        example, position = (np.asarray(_whole(path, group, f"sample_{name}")[:]) for name in ("example", "position"))
        return SampleTokens(example, position)


def read_sign(path: str | Path) -> np.ndarray:
    """int8 [layer, neuron] of a merged summary."""
    with _opened(path) as group:
        return np.stack([np.asarray(_whole(path, group, "sign", i)[i]) for i in range(group["sign"].shape[0])])


def read_neuron(path: str | Path, layer: int, neuron: int) -> LayerSummary:
    """The statistics of one neuron of a merged summary, as a layer of one; quick, and without zarr-python."""
    import tensorstore

    folder = folder_of(path)
    if not (folder / "zarr.json").is_file():
        raise StoreError(str(path), "a summary", "no such file", "run the command that makes it")
    with _refusing_damage(path):
        opened = {name: tensorstore.open(_spec(folder / name)) for name in SUMMARY}
        for name in SUMMARY:
            shape = opened[name].result().shape
            if 0 not in shape and not (folder / name / ".".join([str(layer), *["0"] * (len(shape) - 1)])).is_file():
                raise StoreError(str(path), f"its part {name} of layer {layer}", "nothing there", _DAMAGED)
        reads = {name: array.result()[layer, neuron].read() for name, array in opened.items()}
        return LayerSummary(**{name: np.asarray(read.result())[None] for name, read in reads.items()})


def _spec(folder: Path) -> dict[str, Any]:
    return {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder.resolve()}/"}, "open": True}

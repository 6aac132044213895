"""The replay of a shard: gate and in of chosen neurons at the texts that their pages show, for pages without a model.

A zarr group with one file an array. A pair is a neuron of a layer and one of its texts; its values stand together, one
pair after another in the order in which the forward pass came by them. `text` and `longest` list the pairs by layer,
neuron and row, `pairs` says which of them are whose. Nothing of what is read depends on how the work was cut.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gluscope.core.errors import ModelError, StoreError
from gluscope.core.schema import REPLAY
from gluscope.store.atomic import new_folder
from gluscope.store.damage import MISSING, Damaged, refused
from gluscope.store.zarrfile import (
    Index,
    ItemFile,
    Marks,
    crc,
    document_text,
    encode_labels,
    folder_of,
    group_text,
    label_document,
    read_group,
)

_PER_CHUNK = {"value": 4096, "pairs": 1024, "text": 512, "longest": 4096}
_LABELS = {"branch": ["gate", "in"], "bound": ["first", "end"], "field": ["row", "first", "tokens"]}
_AXIS_1 = {"value": (2,), "pairs": (2,), "text": (3,), "longest": ()}


def _layout(name: str, count: int) -> ItemFile:
    stored = REPLAY[name]
    compressed = np.dtype(stored.dtype).kind == "i"
    return ItemFile(count, _AXIS_1[name], np.dtype(stored.dtype), _PER_CHUNK[name], stored.fill, compressed)


@dataclass(frozen=True)
class LayerPairs:
    """The pairs of one layer in a shard: row int64 [pair], neuron int64 [pair], sorted by row, then neuron."""

    row: np.ndarray
    neuron: np.ndarray

    def of(self, row: int) -> slice:
        """Which pairs are this text's."""
        low, high = np.searchsorted(self.row, [row, row + 1])
        return slice(int(low), int(high))


class ReplayWriter:
    """Writes a shard's replay while the forward pass runs. Leaving the block puts it in place; an error leaves none.

    layers: the pairs of each layer. tokens: int64 [pair] of each layer, tokens of the pairs' texts. attributes: JSON.
    """

    def __init__(
        self,
        path: str | Path,
        layers: Sequence[LayerPairs],
        tokens: Sequence[np.ndarray],
        d_mlp: int,
        attributes: dict[str, Any],
    ) -> None:
        self._layers, self._tokens, self._d_mlp = layers, tokens, d_mlp
        self._attributes = attributes | {"n_layers": len(layers), "d_mlp": d_mlp}
        self._first = [np.full(len(pairs.row), -1, np.int64) for pairs in layers]
        self._longest = [np.zeros(len(pairs.row), np.float32) for pairs in layers]
        self._place = new_folder(folder_of(path))
        self._written, self._rest = 0, np.empty((0, 2), np.float16)
        self._index = Index()

    def __enter__(self) -> ReplayWriter:
        self._folder = self._place.__enter__()
        (self._folder / "value").mkdir()
        self._file = open(self._folder / "value" / "0.0", "wb")
        return self

    def append(self, layer: int, pairs: np.ndarray, values: np.ndarray) -> None:
        """Gate and in, float16 [token, 2], of some pairs (int64, places in the layer's) one after another."""
        if not np.isfinite(values).all():
            step = "set `pages_from: model` for this run"
            raise ModelError(f"layer {layer}", "gate and in within float16's range (65504)", "larger ones", step)
        ends = np.cumsum(self._tokens[layer][pairs])
        if len(values) != ends[-1:].sum():
            raise ValueError(f"{len(values)} values for {ends[-1:].sum()} tokens")
        self._first[layer][pairs] = self._written + np.concatenate([[0], ends[:-1]])
        self._written += len(values)
        values = np.concatenate([self._rest, values])
        chunk = _PER_CHUNK["value"]
        full = len(values) - len(values) % chunk
        for begin in range(0, full, chunk):
            self._write(values[begin : begin + chunk])
        self._rest = values[full:].copy()

    def note_longest(self, layer: int, pairs: np.ndarray, longest: np.ndarray) -> None:
        """The largest |x| of each pair's text, float32 [pair]."""
        self._longest[layer][pairs] = longest

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException as own:
            self._file.close()
            self._place.__exit__(type(own), own, own.__traceback__)
            raise
        self._file.close()
        self._place.__exit__(kind, error, trace)

    def _write(self, chunk: np.ndarray) -> None:
        data = np.ascontiguousarray(chunk, "<f2").tobytes()
        self._file.write(data + crc(data))
        self._index.add(len(data) + 4)

    def _finish(self) -> None:
        missing = sum(int((first < 0).sum()) for first in self._first)
        if missing:
            raise ValueError(f"{missing} pairs were never written")
        if len(self._rest):
            padding = np.zeros((_PER_CHUNK["value"] - len(self._rest), 2), np.float16)
            self._write(np.concatenate([self._rest, padding]))
        marks = Marks.of_group(self._attributes)
        self._file.write(marks.of("value/0.0") + self._index.encode())
        self._file.close()
        if not self._written:
            (self._folder / "value" / "0.0").unlink()
        documents = {"value": _layout("value", self._written).document(REPLAY["value"], (self._written, 2), axis=0)}
        for name, values in self._lists().items():
            file = _layout(name, len(values))
            documents[name] = file.document(REPLAY[name], values.shape, axis=0)
            (self._folder / name).mkdir()
            if not file.empty:
                key = f"{name}/{_key(values.ndim)}"
                (self._folder / key).write_bytes(b"".join(file.encode(values, marks.of(key))))
        for name, labels in _LABELS.items():
            documents[name] = label_document(name, len(labels))
            (self._folder / name).mkdir()
            (self._folder / name / "0").write_bytes(encode_labels(labels))
        for name, document in documents.items():
            (self._folder / name / "zarr.json").write_bytes(document_text(document))
        (self._folder / "zarr.json").write_bytes(group_text(self._attributes, documents))

    def _lists(self) -> dict[str, np.ndarray]:
        """`pairs`, `text` and `longest`, sorted by layer, neuron and row."""
        text, longest, counts = [], [], []
        for layer, tokens, first, norm in zip(self._layers, self._tokens, self._first, self._longest, strict=True):
            order = np.lexsort((layer.row, layer.neuron))
            text.append(np.stack([layer.row, first, tokens], axis=1)[order])
            longest.append(norm[order])
            counts.append(np.bincount(layer.neuron, minlength=self._d_mlp))
        ends = np.cumsum(np.concatenate(counts))
        pairs = np.stack([ends - np.concatenate(counts), ends], axis=1)
        return {"pairs": pairs, "text": np.concatenate(text), "longest": np.concatenate(longest)}


@dataclass(frozen=True)
class NeuronTexts:
    """A neuron's pairs in a shard: row, first, tokens int64 [text], ascending by row; longest float32 [text]."""

    row: np.ndarray
    first: np.ndarray
    tokens: np.ndarray
    longest: np.ndarray


class ReplayReader:
    """Reads single neurons of a shard's replay. Raises StoreError for what is missing or damaged."""

    def __init__(self, path: str | Path) -> None:
        self.folder = folder_of(path)
        if not (self.folder / "zarr.json").is_file():
            raise StoreError(str(self.folder), "a replay", "no such file", MISSING)
        with refused(self.folder, "zarr.json"):
            self.attributes, arrays, self._marks = read_group((self.folder / "zarr.json").read_bytes())
            self._counts = {name: arrays[name]["shape"][0] for name in REPLAY}
            self.n_layers, self.d_mlp = int(self.attributes["n_layers"]), int(self.attributes["d_mlp"])
        self._files: dict[str, tuple[int, int]] = {}

    def texts(self, layer: int, neuron: int) -> NeuronTexts:
        """The texts of one neuron."""
        if not (0 <= layer < self.n_layers and 0 <= neuron < self.d_mlp):
            raise IndexError(f"L{layer}/N{neuron} of {self.n_layers} layers of {self.d_mlp} neurons")
        place = layer * self.d_mlp + neuron
        first, end = self._range("pairs", place, place + 1)[0].tolist()
        text = self._range("text", first, end)
        return NeuronTexts(text[:, 0], text[:, 1], text[:, 2], self._range("longest", first, end))

    def values(self, first: int, tokens: int) -> np.ndarray:
        """float16 [token, 2], gate and in of a text, from its `first` value on."""
        return self._range("value", first, first + tokens)

    def close(self) -> None:
        for handle, _ in self._files.values():
            os.close(handle)
        self._files.clear()

    def __enter__(self) -> ReplayReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _range(self, name: str, begin: int, end: int) -> np.ndarray:
        layout, key = _layout(name, self._counts[name]), f"{name}/{_key(1 + len(_AXIS_1[name]))}"
        with refused(self.folder, key):
            if not 0 <= begin <= end <= self._counts[name]:
                raise Damaged(f"at most {self._counts[name]} of them, found {begin} to {end}")
            if layout.empty or begin == end:
                return np.empty((0, *layout.item), layout.dtype)
            if name not in self._files:
                handle = os.open(self.folder / key, os.O_RDONLY)
                self._files[name] = handle, os.fstat(handle).st_size
            handle, size = self._files[name]
            mark = self._marks.of(key)
            return layout.decode_range(begin, end, size, lambda at, length: os.pread(handle, length, at), mark)


def _key(dimensions: int) -> str:
    return ".".join(["0"] * dimensions)

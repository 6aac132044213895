"""The file of a shard's replay: gate and in of chosen neurons at the texts that their pages show.

A zarr group with one file an array. A pair is a neuron of a layer and one of its texts; its values stand together, one
pair after another in the order in which the forward pass came by them. `text` and `longest` list the pairs by layer,
neuron and row, `pairs` says which of them are whose. Nothing of what is read depends on how the work was cut.
Of a mixture of experts `weight` stands beside `value`: what the router multiplies a routed expert's output with. Where
a token does not reach the expert it is NaN, and gate and in are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from gluscope.core.errors import ModelError
from gluscope.core.schema import REPLAY, WEIGHT, StoredArray
from gluscope.store.damage import refused
from gluscope.store.group import GroupReader, GroupWriter, file_key, folder_of, new_group
from gluscope.store.zarrfile import Index, crc

_PER_CHUNK = {"value": 4096, "weight": 4096, "pairs": 1024, "text": 512, "longest": 4096}
_LABELS = {"branch": ["gate", "in"], "bound": ["first", "end"], "field": ["row", "first", "tokens"]}


@dataclass(frozen=True)
class LayerPairs:
    """The pairs of one layer in a shard: row int64 [pair], neuron int64 [pair], sorted by row, then neuron."""

    row: np.ndarray
    neuron: np.ndarray

    def of(self, row: int) -> slice:
        """Which pairs are this text's."""
        low, high = np.searchsorted(self.row, [row, row + 1])
        return slice(int(low), int(high))


class _Stream:
    """An array's file that is written while it is not known yet how long the array will be."""

    def __init__(
        self, file: BinaryIO, group: GroupWriter, name: str, stored: StoredArray, item: tuple[int, ...]
    ) -> None:
        """file: the array's, open. item: shape of one item."""
        self._file, self._group, self._name, self._stored, self._item = file, group, name, stored, item
        self._index = Index()
        self.written, self._rest = 0, self._none(0)

    def add(self, values: np.ndarray) -> None:
        """More of it, [item] or [item, width]."""
        self.written += len(values)
        values = np.concatenate([self._rest, values])
        chunk = _PER_CHUNK[self._name]
        full = len(values) - len(values) % chunk
        for begin in range(0, full, chunk):
            self._write(values[begin : begin + chunk])
        self._rest = values[full:].copy()

    def finish(self) -> None:
        """Nothing more comes: note the array in its group."""
        if len(self._rest):
            self._write(np.concatenate([self._rest, self._none(_PER_CHUNK[self._name] - len(self._rest))]))
        key = file_key(self._name, 0, len(self._stored.dims))
        self._file.write(self._group.marks.of(key) + self._index.encode())
        self._file.close()
        if not self.written:
            self._group.file(key).unlink()
        shape = self.written, *self._item
        self._group.declare(self._name, self._stored, shape, by_layer=False, per_chunk=_PER_CHUNK[self._name])

    def _none(self, count: int) -> np.ndarray:
        return np.full((count, *self._item), self._stored.fill, np.dtype(self._stored.dtype).newbyteorder("<"))

    def _write(self, chunk: np.ndarray) -> None:
        data = np.ascontiguousarray(chunk).tobytes()
        self._file.write(data + crc(data))
        self._index.add(len(data) + 4)


class ReplayWriter:
    """Writes a shard's replay while the forward pass runs. Leaving the block puts it in place; an error leaves none.

    layers: the pairs of each layer. tokens: int64 [pair] of each layer, tokens of the pairs' texts. attributes: JSON.
    weights: whether values have a router's weight beside them, as in a mixture of experts.
    """

    def __init__(
        self,
        path: str | Path,
        layers: Sequence[LayerPairs],
        tokens: Sequence[np.ndarray],
        d_mlp: int,
        attributes: dict[str, Any],
        weights: bool = False,
    ) -> None:
        self._layers, self._tokens, self._d_mlp = layers, tokens, d_mlp
        self._attributes = attributes | {"n_layers": len(layers), "d_mlp": d_mlp}
        self._first = [np.full(len(pairs.row), -1, np.int64) for pairs in layers]
        self._longest = [np.zeros(len(pairs.row), np.float32) for pairs in layers]
        self._place = new_group(folder_of(path), self._attributes)
        self._with_weights = weights

    def __enter__(self) -> ReplayWriter:
        self._group = self._place.__enter__()
        self._files = ExitStack()
        file = self._files.enter_context(open(self._group.file("value/0.0"), "wb"))
        self._values = _Stream(file, self._group, "value", REPLAY["value"], (len(_LABELS["branch"]),))
        self._weights = None
        if self._with_weights:
            file = self._files.enter_context(open(self._group.file("weight/0"), "wb"))
            self._weights = _Stream(file, self._group, "weight", WEIGHT, ())
        return self

    def append(self, layer: int, pairs: np.ndarray, values: np.ndarray, weight: np.ndarray | None = None) -> None:
        """Gate and in, float16 [token, 2], of some pairs (int64, places in the layer's) one after another.

        weight: the router's, float32 [token]; None for neurons of no routed expert.
        """
        if not np.isfinite(values).all():
            step = "set `pages_from: model` for this run"
            raise ModelError(f"layer {layer}", "gate and in within float16's range (65504)", "larger ones", step)
        ends = np.cumsum(self._tokens[layer][pairs])
        if len(values) != ends[-1:].sum():
            raise ValueError(f"{len(values)} values for {ends[-1:].sum()} tokens")
        self._first[layer][pairs] = self._values.written + np.concatenate([[0], ends[:-1]])
        self._values.add(values)
        if self._weights is not None:
            self._weights.add(np.full(len(values), np.nan, np.float32) if weight is None else weight)

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
            self._files.close()
            self._place.__exit__(type(own), own, own.__traceback__)
            raise
        self._files.close()
        self._place.__exit__(kind, error, trace)

    def _finish(self) -> None:
        missing = sum(int((first < 0).sum()) for first in self._first)
        if missing:
            raise ValueError(f"{missing} pairs were never written")
        for stream in filter(None, (self._values, self._weights)):
            stream.finish()
        for name, values in self._lists().items():
            self._group.add(name, REPLAY[name], values, per_chunk=_PER_CHUNK[name])
        for name, labels in _LABELS.items():
            self._group.add_labels(name, labels)

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


class ReplayReader(GroupReader):
    """Reads single neurons of a shard's replay."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "a replay")
        with refused(self.path, "zarr.json"):
            self.n_layers, self.d_mlp = int(self.attributes["n_layers"]), int(self.attributes["d_mlp"])

    def texts(self, layer: int, neuron: int) -> NeuronTexts:
        """The texts of one neuron."""
        if not (0 <= layer < self.n_layers and 0 <= neuron < self.d_mlp):
            raise IndexError(f"L{layer}/N{neuron} of {self.n_layers} layers of {self.d_mlp} neurons")
        place = layer * self.d_mlp + neuron
        first, end = self.part("pairs", place, place + 1)[0].tolist()
        text = self.part("text", first, end)
        return NeuronTexts(text[:, 0], text[:, 1], text[:, 2], self.part("longest", first, end))

    def values(self, first: int, tokens: int) -> np.ndarray:
        """float16 [token, 2], gate and in of a text, from its `first` value on."""
        return self.part("value", first, first + tokens)

    def weights(self, first: int, tokens: int) -> np.ndarray:
        """float32 [token], the router's weights beside `values`; NaN where a token does not reach the expert."""
        return self.part("weight", first, first + tokens)

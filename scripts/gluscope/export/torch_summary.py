"""`summary_refactored.pt`, the dict of tensors that the original tool saves, as the tables that it publishes.

Keys are (case, "freq"), (case, hook, "sum") and (case, hook, "max"): a tensor [layer, neuron] for the first two ("sum"
is the mean already; "mean" is taken as well), and for the last {"values", "indices"} [k, layer, neuron]. Newer files
have an entry a layer, (case, "blocks.3.hook_pre", "max"), with tensors [neuron] and [k, neuron]; `freq` is as before.
Their keys tell the two apart. Read with `weights_only`: nothing that the file says is executed. Imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.errors import DatasetError
from gluscope.export.published import lists, published_columns, schema

_FIRST = (CASES[0].value, "freq")
_OF_LAYER = re.compile(r"blocks\.(?P<layer>\d+)\.(?:mlp\.)?(?P<hook>\w+)")
_Key = tuple[str | int, ...]  # (case, "freq"), (case, hook, statistic) or (case, hook, statistic, layer)


class TorchSummary:
    """The dict, mapped from its file. One named `summary.pt` is in the raw convention, as the tool names them."""

    def __init__(self, place: Path, tensors: dict[Any, Any]) -> None:
        self.files = [place]
        self.skips: dict[str, Any] = {}
        self.convention = "raw" if place.stem == "summary" else "refactored"
        self._tensors = {_plain(key): tensor for key, tensor in tensors.items()}
        self._by_layer = any(len(key) == 4 for key in self._tensors)
        self.layers, self.neurons = self._tensor(_FIRST, "layer", "neuron").shape

    @classmethod
    def open(cls, place: Path) -> TorchSummary:
        """Raises DatasetError for a file that holds anything but tensors, or is damaged."""
        return cls(place, read_tensors(place))

    @property
    def rows(self) -> int:
        return int(self.layers * self.neurons)

    def tables(self, d_mlp: int) -> Iterator[pa.Table]:
        """One for each layer; `d_mlp` must be the number of neurons."""
        if d_mlp != self.neurons:
            raise DatasetError(str(self.files[0]), f"{d_mlp} neurons a layer", str(self.neurons), "name its model")
        for layer in range(self.layers):
            yield self._layer(layer)

    def _layer(self, layer: int) -> pa.Table:
        columns: list[pa.Array] = [
            pa.array(np.full(self.neurons, layer, np.int64)),
            pa.array(np.arange(self.neurons, dtype=np.int64)),
        ]
        for _, _, case, quantity, kind in published_columns():
            values = self._values(case, quantity, kind, layer)
            columns.append(lists(values) if values.ndim == 2 else pa.array(values))
        return pa.Table.from_arrays(columns, schema=schema())

    def _values(self, case: SignCase, quantity: Quantity | None, kind: str, layer: int) -> np.ndarray:
        """float32 [neuron] of frequencies and means, float32 or int64 [neuron, k] of lists."""
        if quantity is None:
            return self._tensor((case.value, "freq"), "layer", "neuron")[layer].float().numpy()
        if kind == "mean":
            keys = [self._key(case, quantity, name, layer) for name in ("sum", "mean")]
            key = keys[1] if keys[0] not in self._tensors and keys[1] in self._tensors else keys[0]
            return self._of_layer(key, layer, "neuron").float().numpy()
        found = self._of_layer(self._key(case, quantity, "max", layer), layer, "k", "neuron", part=kind).T
        return np.ascontiguousarray(found.numpy(), np.float32 if kind == "values" else np.int64)

    def _key(self, case: SignCase, quantity: Quantity, statistic: str, layer: int) -> _Key:
        return (case.value, quantity.hook, statistic, *([layer] if self._by_layer else []))

    def _of_layer(self, key: _Key, layer: int, *dims: str, part: str | None = None) -> torch.Tensor:
        """The tensor [dims] of one layer; where one holds them all, "layer" stands before "neuron"."""
        if self._by_layer:
            return self._tensor(key, *dims, part=part)
        return self._tensor(key, *dims[:-1], "layer", dims[-1], part=part).select(len(dims) - 1, layer)

    def _tensor(self, key: _Key, *dims: str, part: str | None = None) -> torch.Tensor:
        found = self._tensors.get(key)
        if part is not None and isinstance(found, dict):
            found = found.get(part)
        if isinstance(found, torch.Tensor) and part is None and found.ndim == len(dims) + 1 and len(found) == 1:
            found = found[0]  # some versions of the tool keep a first dimension of size 1
        if not isinstance(found, torch.Tensor) or found.ndim != len(dims):
            name = f"{_written(key)}{f'[{part!r}]' if part else ''}"
            seen = list(found.shape) if isinstance(found, torch.Tensor) else "none"
            step = "name a summary that the original tool has saved whole"
            raise DatasetError(str(self.files[0]), f"a tensor [{', '.join(dims)}] at {name}", str(seen), step)
        return found.float() if found.dtype == torch.bfloat16 else found


def read_tensors(place: Path) -> dict[Any, Any]:
    """The dict in a file of `torch.save`; nothing is executed. Raises DatasetError for any other file."""
    try:
        found = torch.load(place, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # what torch raises for strange files has no common class
        said = " ".join(str(error).split())[:150] or type(error).__name__
        expected = "a dict of tensors and nothing that has to be executed"
        raise DatasetError(str(place), expected, said, "save it again by torch.save") from error
    if not isinstance(found, dict):
        raise DatasetError(str(place), "a dict of tensors", type(found).__name__, "check the path")
    return found


def _plain(key: Any) -> Any:
    """(case, "blocks.3.hook_pre" or "blocks.3.mlp.hook_pre", statistic) as (case, "hook_pre", statistic, 3)."""
    if isinstance(key, tuple) and len(key) == 3 and (named := _OF_LAYER.fullmatch(str(key[1]))):
        return key[0], named["hook"], key[2], int(named["layer"])
    return key


def _written(key: _Key) -> str:
    """A key as it stands in the file."""
    return str(key if len(key) < 4 else (key[0], f"blocks.{key[3]}.{key[1]}", key[2]))

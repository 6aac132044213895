"""`summary_refactored.pt`, the dict of tensors that the original tool saves, as the tables that it publishes.

Keys are (case, "freq"), (case, hook, "sum") and (case, hook, "max"): a tensor [layer, neuron] for the first two ("sum"
is the mean already; "mean" is taken as well), and for the last {"values", "indices"} [k, layer, neuron]. Read with
`weights_only`: nothing that the file says is executed. Imports torch.
"""

from __future__ import annotations

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


class TorchSummary:
    """The dict, mapped from its file. One named `summary.pt` is in the raw convention, as the tool names them."""

    def __init__(self, place: Path, tensors: dict[Any, Any]) -> None:
        self.files = [place]
        self.skips: dict[str, Any] = {}
        self.convention = "raw" if place.stem == "summary" else "refactored"
        self._tensors = tensors
        self.layers, self.neurons = self._tensor(_FIRST, 2).shape

    @classmethod
    def open(cls, place: Path) -> TorchSummary:
        """Raises DatasetError for a file that holds anything but tensors, or is damaged."""
        try:
            tensors = torch.load(place, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # what torch raises for strange files has no common class
            found = " ".join(str(error).split())[:150] or type(error).__name__
            raise DatasetError(
                str(place),
                "a dict of tensors and nothing that has to be executed",
                found,
                "save it again by torch.save",
            ) from error
        if not isinstance(tensors, dict):
            raise DatasetError(str(place), "a dict of tensors", type(tensors).__name__, "check the path")
        return cls(place, tensors)

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
            return self._tensor((case.value, "freq"), 2)[layer].float().numpy()
        if kind == "mean":
            key = (case.value, quantity.hook, "sum")
            key = key if key in self._tensors else (case.value, quantity.hook, "mean")
            return self._tensor(key, 2)[layer].float().numpy()
        found = self._tensor((case.value, quantity.hook, "max"), 3, kind)[:, layer].T
        return np.ascontiguousarray(found.numpy(), np.float32 if kind == "values" else np.int64)

    def _tensor(self, key: tuple[str, ...], dims: int, part: str | None = None) -> torch.Tensor:
        found = self._tensors.get(key)
        if part is not None and isinstance(found, dict):
            found = found.get(part)
        if not isinstance(found, torch.Tensor) or found.ndim != dims:
            name = f"{key}{f'[{part!r}]' if part else ''}"
            shape = "k, layer, neuron" if dims == 3 else "layer, neuron"
            seen = list(found.shape) if isinstance(found, torch.Tensor) else "none"
            raise DatasetError(str(self.files[0]), f"a tensor [{shape}] at {name}", str(seen), "check the path")
        if found.dtype == torch.bfloat16:
            found = found.float()
        return found

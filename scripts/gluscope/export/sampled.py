"""Sampled activations as sjgerstner publishes them: gate and in of every neuron at some tokens, the same for all.

One row a neuron, ordered layer * d_mlp + neuron: `layer`, `neuron`, `sampled_positions`, `mlp.hook_pre` and
`mlp.hook_pre_linear` (a number a token); `mlp.hook_post`, their product, is not read. The original tool samples one
token of each of the first texts: entry i is of row i. Our exports have several tokens of a text, and the rows as
`sampled_examples`. The tool's own file, `sample.pt` or `sample_refactored.pt`, is a dict with the positions and, for
each hook, a tensor [sample, layer, neuron].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from gluscope.core.cases import Quantity
from gluscope.core.errors import DatasetError
from gluscope.export.source import ArrowFiles, ParquetFiles, open_tables, refuse_other_order, whole
from gluscope.summary.types import SampleTokens

_HOOKS = {quantity: f"mlp.{quantity.hook}" for quantity in (Quantity.GATE, Quantity.IN)}
POSITIONS, EXAMPLES = "sampled_positions", "sampled_examples"
_INTEGERS, _NUMBERS = pa.list_(pa.int64()), pa.list_(pa.float32())
_COLUMNS = pa.schema(
    [("layer", pa.int64()), ("neuron", pa.int64()), (POSITIONS, _INTEGERS), *((n, _NUMBERS) for n in _HOOKS.values())]
)
_ROWS_AT_ONCE = 256
_FLOAT16_MAX = float(np.finfo(np.float16).max)


class Sampled(Protocol):
    """Sampled activations that have been found. convention: "refactored" or "raw"."""

    convention: str
    files: list[Path]

    @property
    def rows(self) -> int:
        """Neurons."""
        ...

    @property
    def tokens(self) -> SampleTokens: ...

    def layers(self, d_mlp: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """gate and in of a layer after the other, float16 [neuron, sample], in the order of `tokens`."""
        ...


def open_sampled(place: str | Path) -> Sampled:
    """The sampled activations in a folder or file. Raises DatasetError for what holds none, or is damaged."""
    place = Path(place)
    if place.suffix == ".pt":
        from gluscope.export.torch_summary import read_tensors

        return _TorchSample(place, read_tensors(place))
    beside = place / "samples" if (place / "samples").is_dir() else place
    if streams := sorted(beside.glob("*.arrow")) if not (beside / "state.json").is_file() else []:
        return _Tables(beside, ArrowFiles(beside, streams, _COLUMNS))
    return _Tables(place, open_tables(place, _COLUMNS))


class _Tables:
    """A row a neuron."""

    convention = "refactored"

    def __init__(self, place: Path, found: ArrowFiles | ParquetFiles) -> None:
        columns = _COLUMNS if EXAMPLES not in found.names else _COLUMNS.append(pa.field(EXAMPLES, _INTEGERS))
        self._place, self._tables = place, type(found)(place, found.files, columns)
        self.files, self.rows = found.files, found.rows
        with whole(place):
            first = next(self._tables.tables(1), None)
        if first is None:
            raise DatasetError(str(place), "rows of sampled activations", "none", "fetch or write it again")
        self._positions = first[POSITIONS][0]
        self._examples = first[EXAMPLES][0] if EXAMPLES in columns.names else None
        position = np.array(self._positions.as_py(), np.int32)
        example = np.arange(len(position)) if self._examples is None else np.array(self._examples.as_py(), np.int64)
        self._order = np.lexsort((position, example))
        self.tokens = SampleTokens(example[self._order], position[self._order])

    def layers(self, d_mlp: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        some = math.gcd(d_mlp, _ROWS_AT_ONCE)  # rows of one layer
        for first, table in zip(itertools.count(0, some), self._tables.tables(some), strict=False):
            self._check_rows(table, first, d_mlp)
            at = first % d_mlp
            if at == 0:
                gate, in_ = (np.empty((d_mlp, len(self._order)), np.float16) for _ in range(2))
            gate[at : at + some], in_[at : at + some] = (self._matrix(table, name, first) for name in _HOOKS.values())
            if at + some == d_mlp:
                yield gate, in_

    def _matrix(self, table: pa.Table, name: str, row: int) -> np.ndarray:
        column = table.column(name).combine_chunks()
        lengths = column.value_lengths().to_numpy(zero_copy_only=False)
        if not (lengths == len(self._order)).all():
            found = f"{int(lengths[lengths != len(self._order)][0])} behind row {row}"
            raise DatasetError(str(self._place), f"{len(self._order)} values of {name} in every row", found, _AGAIN)
        values = np.asarray(column.flatten(), np.float32).reshape(len(lengths), -1)[:, self._order]
        return _half(values, f"{self._place}, {name}")

    def _check_rows(self, table: pa.Table, row: int, d_mlp: int) -> None:
        refuse_other_order(str(self._place), table, row, d_mlp)
        for name, first in ((POSITIONS, self._positions), (EXAMPLES, self._examples)):
            if first is not None and not all(entry == first for entry in table.column(name)):
                raise DatasetError(str(self._place), f"the same {name} in every row", "others", _AGAIN)


class _TorchSample:
    """The dict that the original tool saves; one named `sample.pt` is in the raw convention."""

    def __init__(self, place: Path, found: dict[Any, Any]) -> None:
        self.files = [place]
        self.convention = "raw" if place.stem == "sample" else "refactored"
        position = np.array(found.get(POSITIONS, []), np.int32)
        self._tensors: list[Any] = [found.get(name) for name in _HOOKS.values()]
        for name, tensor in zip(_HOOKS.values(), self._tensors, strict=True):
            shape = list(getattr(tensor, "shape", []))
            if len(shape) != 3 or len(position) != shape[0]:
                expected = f"{POSITIONS} and a tensor [sample, layer, neuron] at {name!r}"
                step = "name a sample that the original tool saved"
                raise DatasetError(str(place), expected, str(shape or "none"), step)
        self.tokens = SampleTokens(np.arange(len(position)), position)

    @property
    def rows(self) -> int:
        return int(np.prod(self._tensors[0].shape[1:]))

    def layers(self, d_mlp: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for layer in range(self.rows // d_mlp):
            where = f"{self.files[0]}, layer {layer}"
            gate, in_ = (_half(tensor[:, layer].float().numpy().T, where) for tensor in self._tensors)
            yield gate, in_


_AGAIN = "fetch or write it again"


def _half(values: np.ndarray, where: str) -> np.ndarray:
    """As float16, in which samples are kept."""
    if not (np.abs(values) <= _FLOAT16_MAX).all():
        found = f"{values[~(np.abs(values) <= _FLOAT16_MAX)][0]:g}"
        raise DatasetError(where, f"numbers up to {_FLOAT16_MAX:g}, which float16 holds", found, _AGAIN)
    return values.astype(np.float16)

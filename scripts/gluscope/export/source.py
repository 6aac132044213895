"""Published activations as they lie on a disk: Arrow or parquet files, or the dict that the original tool saves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gluscope.core.errors import DatasetError
from gluscope.export.published import SKIPS, schema
from gluscope.store.listing import check_listed

_AGAIN = "fetch or write it again"
_OWN = re.compile(r"state\.json|[^/]+\.arrow")  # files of an export that are read


class Published(Protocol):
    """Published activations that have been found.

    rows: neurons in them. files: what they lie in. convention: "refactored" or "raw". skips: see
    `published.skips_of`; empty where frequencies are of all tokens, as in all that others publish.
    """

    convention: str
    skips: dict[str, Any]

    @property
    def rows(self) -> int: ...

    @property
    def files(self) -> list[Path]: ...

    def tables(self, d_mlp: int) -> Iterator[pa.Table]:
        """`d_mlp` rows at a time, with the columns of `published.schema()`. Memory: two such tables."""
        ...


def open_published(place: str | Path) -> Published:
    """The activations in a folder or file. Raises DatasetError for what holds none, or is damaged."""
    place = Path(place)
    if place.suffix == ".pt":
        from gluscope.export.torch_summary import TorchSummary

        return TorchSummary.open(place)
    return open_tables(place, schema())


def open_tables(place: Path, columns: pa.Schema) -> ArrowFiles | ParquetFiles:
    """The tables with (at least) these columns in a saved folder, or in parquet files."""
    if (place / "dataset_dict.json").is_file():
        place = _split(place)
    if (place / "state.json").is_file():
        check_listed(place, whole=True, among=_OWN)  # an export of this workflow; of a fetched one the rest may lack
        return ArrowFiles(place, _saved_files(place), columns)
    return ParquetFiles(place, _parquet_files(place, columns), columns)


class ArrowFiles:
    """Arrow streams, as `save_to_disk` writes them."""

    convention = "refactored"

    def __init__(self, place: Path, files: list[Path], columns: pa.Schema) -> None:
        self._place, self.files, self._columns = place, files, columns
        tables = [_stream(file) for file in files]
        self.names: list[str] = tables[0].column_names if tables else []
        _refuse_other_columns(place, self.names, columns)
        with whole(place):
            self._table = pa.concat_tables(tables)
            self.skips = json.loads((self._table.schema.metadata or {}).get(SKIPS.encode(), b"{}"))

    @property
    def rows(self) -> int:
        return int(self._table.num_rows)

    def tables(self, d_mlp: int) -> Iterator[pa.Table]:
        for first in range(0, self.rows, d_mlp):
            with whole(self._place):
                yield _only(self._table.slice(first, d_mlp), self._columns)


class ParquetFiles:
    """Parquet files, in the order of their names."""

    convention = "refactored"

    def __init__(self, place: Path, files: list[Path], columns: pa.Schema) -> None:
        self._place, self.files, self._columns = place, files, columns
        self.skips: dict[str, Any] = {}
        with whole(place):
            self.names: list[str] = pq.read_schema(files[0]).names

    @property
    def rows(self) -> int:
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def tables(self, d_mlp: int) -> Iterator[pa.Table]:
        waiting: list[pa.Table] = []
        for file in self.files:
            with whole(file):
                batches = pq.ParquetFile(file).iter_batches(d_mlp, columns=self._columns.names)
            while True:
                with whole(file):
                    batch = next(batches, None)
                    if batch is None:
                        break
                    waiting.append(_only(pa.Table.from_batches([batch]), self._columns))
                while sum(table.num_rows for table in waiting) >= d_mlp:
                    joined = pa.concat_tables(waiting)
                    yield joined.slice(0, d_mlp)
                    waiting = [joined.slice(d_mlp)]
        if any(table.num_rows for table in waiting):
            yield pa.concat_tables(waiting)


def refuse_other_order(where: str, table: pa.Table, first: int, d_mlp: int) -> None:
    """Rows are neurons in order, `d_mlp` a layer. first: the row of the table's first row. Raises DatasetError."""
    row = np.arange(first, first + table.num_rows)
    layer, neuron = (table.column(name).to_numpy() for name in ("layer", "neuron"))
    wrong = np.flatnonzero((layer != row // d_mlp) | (neuron != row % d_mlp))
    if len(wrong):
        at = wrong[0]
        expected = f"L{row[at] // d_mlp}/N{row[at] % d_mlp} in row {row[at]}"
        step = "sort its rows by layer and neuron, or name those of this model"
        raise DatasetError(where, expected, f"L{layer[at]}/N{neuron[at]}", step)


def _split(place: Path) -> Path:
    """The folder of the split `train` of a saved DatasetDict, or of its only one."""
    with whole(place):
        splits = json.loads((place / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
    if "train" not in splits and len(splits) != 1:
        raise DatasetError(str(place), "a split `train`", ", ".join(splits) or "none", "name the split's folder")
    return place / ("train" if "train" in splits else splits[0])


def _saved_files(place: Path) -> list[Path]:
    with whole(place):
        state = json.loads((place / "state.json").read_text(encoding="utf-8"))
        files = [place / file["filename"] for file in state["_data_files"]]
    if not files:
        raise DatasetError(str(place), "Arrow files", "none in its state.json", _AGAIN)
    return files


def _parquet_files(place: Path, columns: pa.Schema) -> list[Path]:
    """Those that have the columns; others may lie beside them."""
    if place.is_file():
        files = [place]
    else:
        found = (file for file in place.rglob("*.parquet") if file.is_file())
        files = sorted(f for f in found if not any(part.startswith(".") for part in f.relative_to(place).parts))
    if not files:
        expected = "a folder of `save_to_disk`, parquet files or a summary_refactored.pt"
        raise DatasetError(str(place), expected, "none of them", "check the path or id")
    names = {}
    for file in files:
        with whole(file):
            names[file] = pq.read_schema(file).names
    fitting = [file for file in files if not set(columns.names) - set(names[file])]
    if not fitting:
        _refuse_other_columns(files[0], names[files[0]], columns)
    return fitting


def _refuse_other_columns(place: Path, names: list[str], columns: pa.Schema) -> None:
    if gone := [name for name in columns.names if name not in names]:
        found = f"{len(gone)} of the columns missing" if names else "no columns"
        raise DatasetError(str(place), f"a column {gone[0]}, as published activations have", found, "check path or id")


def _stream(file: Path) -> pa.Table:
    """All batches of an Arrow stream; nothing of them is read before it is used."""
    with whole(file):
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()


def _only(table: pa.Table, columns: pa.Schema) -> pa.Table:
    return table.select(columns.names).cast(columns)


@contextmanager
def whole(place: Path) -> Iterator[None]:
    """What a damaged or strange file leads to, as one line that names it."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        found = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(str(place), "whole files of published activations", found, _AGAIN) from error

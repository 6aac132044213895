"""A source as rows with random access.

Files are first copied, in one pass, into an Arrow file in a scratch folder; memory stays within some rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gluscope.core.errors import DatasetError
from gluscope.dataset.arrow_rows import kind_of_type, table_rows
from gluscope.dataset.columns import Columns, Kinds, Row, kind_of

ROWS_AT_ONCE = 1000
BYTES_AT_ONCE = 16 << 20


class Table(Protocol):
    """columns: what becomes of them. `len()` is the number of rows."""

    columns: Columns

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> list[tuple[str, Row]]:
        """These rows (int64 [row]), each with its place for an error."""


class SavedRows:
    """Those of a `datasets.Dataset`, as Python values. where: its name in errors."""

    def __init__(self, data: Any, text_column: str, where: str) -> None:
        schema = data.features.arrow_schema
        kinds = {name: {kind_of_type(kind)} for name, kind in zip(schema.names, schema.types, strict=True)}
        self.columns = Columns.of(kinds, text_column)
        kept = [name for name in schema.names if name not in self.columns.left_out]
        self._data, self._text, self._where = data.select_columns(kept).with_format("arrow"), text_column, where

    def __len__(self) -> int:
        return len(self._data)

    def take(self, rows: np.ndarray) -> list[tuple[str, Row]]:
        places = [f"{self._where}, row {row}" for row in rows]
        return list(zip(places, table_rows(self._data[rows.tolist()], places, self._text), strict=True))


class CopiedRows:
    """Rows that come one after another. What their columns hold is known when the last was seen."""

    def __init__(self, rows: Iterable[tuple[str, Row]], text_column: str, scratch: Path) -> None:
        import datasets
        import pyarrow as pa

        path, kinds = scratch / "rows.arrow", Kinds()
        schema = pa.schema({"place": pa.string(), "row": pa.string()})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for some in _chunks(_as_json(rows, kinds)):
                writer.write_table(pa.table(list(zip(*some, strict=True)), schema=schema))
        self._data = datasets.Dataset.from_file(str(path)).with_format("arrow")
        self.columns = Columns.of(kinds, text_column)

    def __len__(self) -> int:
        return len(self._data)

    def take(self, rows: np.ndarray) -> list[tuple[str, Row]]:
        found = self._data[rows.tolist()].to_pydict()
        return list(zip(found["place"], map(json.loads, found["row"]), strict=True))


def _as_json(rows: Iterable[tuple[str, Row]], kinds: Kinds) -> Iterator[tuple[str, str]]:
    """The rows as JSON text. kinds: gets what their columns hold."""
    for place, row in rows:
        for name, value in row.items():
            kinds.setdefault(name, set()).add(kind_of(value))
        try:
            yield place, json.dumps(row, ensure_ascii=False, default=str)
        except RecursionError:
            found = "lists or objects nested too deeply"
            raise DatasetError(place, "a JSON object", found, "correct it, or take it out") from None


def _chunks(rows: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Some rows at a time, fewer where they are long."""
    some: list[tuple[str, str]] = []
    size = 0
    for place, row in rows:
        some.append((place, row))
        size += len(row)
        if len(some) >= ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some

"""A source as rows with random access: columns of plain types, whatever the files hold.

Local files are first written into an Arrow file in a scratch folder, in one pass; memory stays within some rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gluscope.core.errors import DatasetError
from gluscope.dataset import columns as plain_columns
from gluscope.dataset.columns import Columns
from gluscope.dataset.files import Found
from gluscope.dataset.raw import Surrogates
from gluscope.dataset.reader import IDS, MASK
from gluscope.dataset.rows import Row, rows_of

ROWS_AT_ONCE = 1000
BYTES_AT_ONCE = 16 << 20
_REST = "(all other columns)"
_EXACT = 2**53  # whole numbers up to here are floats as well


class Table(Protocol):
    """columns: of every table that `take` gives. `len()` is the number of rows."""

    columns: Columns

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> Any:
        """These rows (int64 [row]) as a pyarrow.Table."""


class ArrowTable:
    """A `datasets.Dataset`. asked: columns that keep their type, so that what is wrong with it can be said."""

    def __init__(self, data: Any, asked: tuple[str, ...], where: str) -> None:
        self._data, self._asked, self._where = data.with_format("arrow"), asked, where
        self.columns = plain_columns.join([data.features.arrow_schema], asked)

    def __len__(self) -> int:
        return len(self._data)

    def take(self, rows: np.ndarray) -> Any:
        return plain_columns.plain(self._data[rows.tolist()], self.columns, self._asked, self._where)


class RowTable:
    """Rows of text files. The columns that are asked for have their own; all others lie together as JSON, and get
    types when the last row was seen. messages: whether the text's column holds chat messages, which become JSON text.
    """

    def __init__(self, found: Found, text_column: str, scratch: Path, messages: bool = False) -> None:
        import datasets

        self._text, self._messages, self._surrogates = text_column, messages, Surrogates()
        self._kinds: dict[str, set[str]] = {}
        path = scratch / "rows.arrow"
        self._write(found, path)
        self._data = datasets.Dataset.from_file(str(path)).with_format("arrow")
        self.columns = self._final()

    def __len__(self) -> int:
        return len(self._data)

    @property
    def surrogates(self) -> int:
        """How many lone surrogates were replaced."""
        return self._surrogates.replaced

    def take(self, rows: np.ndarray) -> Any:
        import pyarrow as pa

        table = self._data[rows.tolist()]
        rest = [json.loads(text) for text in table.column(_REST).to_pylist()]
        arrays = {}
        for name, kind in self.columns.types.items():
            if name in self._own:
                arrays[name] = table.column(name)
            else:
                values = [row.get(name) for row in rest]
                if name in self.columns.as_text:
                    values = [None if value is None else plain_columns.as_json(value) for value in values]
                arrays[name] = pa.array(values, kind)
        return pa.table(arrays)

    @property
    def _own(self) -> dict[str, Any]:
        import pyarrow as pa

        return {self._text: pa.string(), IDS: pa.list_(pa.int64()), MASK: pa.list_(pa.int64())}

    def _write(self, found: Found, path: Path) -> None:
        import pyarrow as pa

        schema = pa.schema({**self._own, _REST: pa.string()})
        rows = rows_of(found, (self._text, IDS), self._surrogates)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for some in _chunks(rows):
                writer.write_table(pa.table(self._arrays(some), schema=schema))

    def _arrays(self, rows: list[tuple[str, Row]]) -> list[Any]:
        import pyarrow as pa

        texts, rest = [], []
        for where, row in rows:
            text = row.get(self._text)
            if not (self._messages or text is None or isinstance(text, str) or IDS in row):
                step = "set `text_column` to one that holds texts"
                found = f"{plain_columns.as_json(text)[:40]} ({type(text).__name__})"
                raise DatasetError(where, f"a text in the column {self._text!r}", found, step)
            texts.append(text if text is None or isinstance(text, str) else plain_columns.as_json(text))
            for name, value in row.items():
                self._kinds.setdefault(name, set()).add(_kind(value))
            rest.append(_json_of(where, {name: row[name] for name in row if name not in self._own}))
        lists = [_lists(rows, name) for name in (IDS, MASK)]
        return [pa.array(texts, pa.string()), *lists, pa.array(rest, pa.string())]

    def _final(self) -> Columns:
        import pyarrow as pa

        columns, own = Columns(), self._own
        for name, kinds in self._kinds.items():
            kinds -= {"null"}
            if name in own:
                columns.types[name] = own[name]
            elif len(columns.types) >= plain_columns.MOST_COLUMNS:
                columns.left_out[name] = f"more than {plain_columns.MOST_COLUMNS} columns"
            elif kinds and kinds <= {"int", "long"}:
                columns.types[name] = pa.int64()
            elif kinds and kinds <= {"int", "float"}:
                columns.types[name] = pa.float64()
            elif kinds == {"bool"}:
                columns.types[name] = pa.bool_()
            else:
                columns.types[name] = pa.string()
                if kinds - {"str"}:
                    columns.as_text.append(name)
        return columns


def _json_of(where: str, row: Row) -> str:
    try:
        return json.dumps(row, ensure_ascii=False)
    except RecursionError:
        found = "lists or objects nested too deeply"
        raise DatasetError(where, "a JSON object", found, "correct it, or take it out") from None


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool() | str() | float():
            return type(value).__name__
        case int():
            return "int" if abs(value) <= _EXACT else "long" if -(2**63) <= value < 2**63 else "other"
    return "other"


def _lists(rows: list[tuple[str, Row]], name: str) -> Any:
    """A column of whole numbers in lists. Raises DatasetError where it holds something else."""
    import pyarrow as pa

    kind = pa.list_(pa.int64())
    values = [row.get(name) for _, row in rows]
    try:
        array = pa.array(values)
        if pa.types.is_null(array.type):
            return pa.nulls(len(rows), kind)
        if pa.types.is_list(array.type) and (
            pa.types.is_integer(array.type.value_type) or pa.types.is_null(array.type.value_type)
        ):
            return array.cast(kind)
        found = str(array.type)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        found = "values of several types, or numbers too large"
    expected = f"lists of whole numbers in `{name}`"
    raise DatasetError(f"{rows[0][0]} and after", expected, found, "tokenise it again, or drop the column")


def _chunks(rows: Iterator[tuple[str, Row]]) -> Iterator[list[tuple[str, Row]]]:
    """Some rows at a time, fewer where they are long."""
    some: list[tuple[str, Row]] = []
    size = 0
    for where, row in rows:
        some.append((where, row))
        size += sum(len(value) for value in row.values() if isinstance(value, str | list))
        if len(some) >= ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some

"""JSON files, one object a line or one list of objects, to Arrow.

Python's own parser reads them: it takes what Arrow's refuses (lone surrogates, columns of mixed types), and an
error can name the line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gluscope.core.errors import DatasetError
from gluscope.dataset.files import Written, with_features
from gluscope.dataset.raw import Surrogates, decode, lines, open_bytes, read_text

ROWS_AT_ONCE = 1000
BYTES_AT_ONCE = 64 << 20


def write_jsonl(files: list[Path], out: Path) -> Written:
    """Two passes, so that memory stays flat: the first finds the columns' types, the second writes.

    A column whose values have no common type is kept as JSON text, and named in the result's `mixed`.
    """
    columns = _Columns()
    for rows in _chunks(files, Surrogates()):
        columns.meet(rows)
    while True:
        known = len(columns.mixed)
        surrogates = _write(files, out, columns)
        if surrogates is not None:
            return Written(surrogates, columns.mixed)
        assert len(columns.mixed) > known, "one more column is kept as text in each round"


def _write(files: list[Path], out: Path, columns: _Columns) -> int | None:
    """Surrogates replaced; None where a column turned out to be mixed."""
    import pyarrow as pa

    found = Surrogates()
    schema = pa.schema(columns.types)
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_stream(sink, with_features(schema)) as writer:
        for rows in _chunks(files, found):
            arrays = columns.arrays(rows)
            if arrays is None:
                return None
            writer.write_table(pa.table(arrays, schema=schema))
    return found.replaced


class _Columns:
    """The columns met so far. types: Arrow type by name. mixed: those kept as JSON text."""

    def __init__(self) -> None:
        self.types: dict[str, Any] = {}
        self.mixed: set[str] = set()

    def meet(self, rows: list[dict[str, Any]]) -> None:
        """Widen the types so that they hold these rows too."""
        import pyarrow as pa

        for name in dict.fromkeys(name for row in rows for name in row):
            if name in self.mixed:
                continue
            try:
                kind = pa.array([row.get(name) for row in rows]).type
                schemas = [pa.schema({name: known}) for known in (self.types.get(name), kind) if known is not None]
                self.types[name] = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
                storable = "struct<>" not in str(self.types[name])
            except (pa.ArrowException, OverflowError, TypeError, ValueError):
                storable = False
            if not storable:
                self._keep_as_text(name)

    def arrays(self, rows: list[dict[str, Any]]) -> list[Any] | None:
        """The rows by column; None where one did not fit its type, which is text from then on."""
        import pyarrow as pa

        arrays = []
        for name, kind in self.types.items():
            values = [row.get(name) for row in rows]
            if name in self.mixed:
                values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
            try:
                arrays.append(pa.array(values, kind))
            except (pa.ArrowException, OverflowError, TypeError, ValueError):
                if name in self.mixed:
                    raise
                self._keep_as_text(name)
                return None
        return arrays

    def _keep_as_text(self, name: str) -> None:
        import pyarrow as pa

        self.mixed.add(name)
        self.types[name] = pa.string()


def _chunks(files: list[Path], surrogates: Surrogates) -> Iterator[list[dict[str, Any]]]:
    """The files' rows, some at a time."""
    for path in files:
        rows: list[dict[str, Any]] = []
        size = 0
        for row, length in _rows(path, surrogates):
            rows.append(row)
            size += length
            if len(rows) >= ROWS_AT_ONCE or size >= BYTES_AT_ONCE:
                yield rows
                rows, size = [], 0
        if rows:
            yield rows


def _rows(path: Path, surrogates: Surrogates) -> Iterator[tuple[dict[str, Any], int]]:
    """Each row with about the bytes it took."""
    before = 0
    with open_bytes(path) as file:
        for number, line in enumerate(lines(file, path), start=1):
            text = decode(line, path, before).removeprefix("\ufeff" if number == 1 else "")
            before += len(line)
            if not text.strip():
                continue
            if text.lstrip()[0] == "[" and path.name.lower().endswith((".json", ".json.gz")):
                yield from _list(path, surrogates)
                return
            row = _parse(text, f"{path}, line {number}")
            yield surrogates.clean(row) if "\\u" in text else row, len(line)


def _list(path: Path, surrogates: Surrogates) -> Iterator[tuple[dict[str, Any], int]]:
    """The rows of a file that is one list of objects."""
    text = read_text(path)
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(str(path), str(error)) from None
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise _bad(f"{path}, entry {number}", f"a {type(row).__name__}")
        yield surrogates.clean(row), len(text) // len(rows)


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad(where, str(error)) from None
    if not isinstance(row, dict):
        raise _bad(where, f"a {type(row).__name__}")
    return row


def _bad(where: str, found: str) -> DatasetError:
    return DatasetError(where, "a JSON object", found, "correct it, or take it out")

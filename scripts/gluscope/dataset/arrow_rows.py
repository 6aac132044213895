"""Rows of Arrow tables and parquet files, whatever types their columns have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gluscope.core.errors import DatasetError
from gluscope.dataset.columns import Row
from gluscope.dataset.raw import not_utf8

ROWS_AT_ONCE = 1000


def parquet_rows(path: Path, text_column: str) -> Iterator[tuple[str, Row]]:
    """All rows, each with its place for an error. Of a column that holds bytes b"" stands for them, and none is read.

    Raises DatasetError for a damaged file, and where the text is not UTF-8.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _whole(path):
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
        bytes_ = [name for name, kind in zip(schema.names, schema.types, strict=True) if holds_bytes(kind)]
        batches = file.iter_batches(ROWS_AT_ONCE, columns=[name for name in schema.names if name not in bytes_])
    first = 0
    while True:
        with _whole(path):
            batch = next(batches, None)
        if batch is None:
            return
        places = [f"{path}, row {first + i}" for i in range(batch.num_rows)]
        found = table_rows(pa.Table.from_batches([batch]), places, text_column)
        yield from zip(places, ({**row, **dict.fromkeys(bytes_, b"")} for row in found), strict=True)
        first += batch.num_rows


def table_rows(table: Any, places: list[str], text_column: str) -> list[Row]:
    """The rows of a pyarrow.Table as dictionaries. places: of each, for errors.

    A value that Python has no form for becomes text. Raises DatasetError for a text that is not UTF-8; in other
    columns what is none is replaced.
    """
    columns = {}
    for name, column in zip(table.schema.names, table.columns, strict=True):
        try:
            columns[name] = column.to_pylist()
        except UnicodeDecodeError:
            columns[name] = _decoded(column, [f"{place}, column {name!r}" for place in places], name == text_column)
        except Exception:  # Arrow raises many kinds
            columns[name] = [_written(value) for value in column]
    return [{name: values[i] for name, values in columns.items()} for i in range(table.num_rows)]


def kind_of_type(kind: Any) -> str:
    """What a column of an Arrow type holds, as `columns.kind_of` says it of values."""
    import pyarrow.types as of

    kind = _of_values(kind)
    if of.is_null(kind):
        return "null"
    if of.is_boolean(kind):
        return "bool"
    if of.is_floating(kind):
        return "float"
    if of.is_integer(kind) and not of.is_uint64(kind):
        return "long"
    return "str" if _is_string(kind) else "bytes" if holds_bytes(kind) else "other"


def holds_bytes(kind: Any) -> bool:
    """Whether a column of an Arrow type holds bytes, on their own or within something else, such as an image."""
    kind = _of_values(kind)
    own = str(kind).removeprefix("large_").startswith(("binary", "fixed_size_binary"))
    return own or any(holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


def _of_values(kind: Any) -> Any:
    """The type of the values: of an extension what it is stored as, of categories what they name."""
    import pyarrow as pa

    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind) else kind


def _is_string(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def _decoded(column: Any, places: list[str], asked: bool) -> list[str | None]:
    """Strings that are not all UTF-8."""
    import pyarrow as pa

    if not _is_string(column.type):
        return [_written(value) for value in column]
    values = column.cast(pa.large_binary()).to_pylist()
    for place, value in zip(places, values, strict=True):
        try:
            if asked and value is not None:
                value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(place, error.start, value[error.start]) from None
    return [None if value is None else value.decode("utf-8", "replace") for value in values]


def _written(value: Any) -> str | None:
    """An Arrow scalar as Arrow or Python writes it; None for one that neither can."""
    try:
        return str(value) if value.is_valid else None
    except Exception:  # Arrow raises many kinds
        return None


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Arrow's complaints as one line that names the file."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        found = " ".join(str(error).split())
        raise DatasetError(str(path), "a whole parquet file", found, "fetch or write it again") from error

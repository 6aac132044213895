"""Parquet files to one Arrow stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gluscope.core.errors import DatasetError
from gluscope.dataset.files import Written, with_features
from gluscope.dataset.raw import not_utf8

ROWS_AT_ONCE = 1000


def write_parquet(files: list[Path], out: Path) -> Written:
    """Raises DatasetError for a damaged file, text that is not UTF-8, or files whose columns do not go together."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = []
    for path in files:
        with _whole(path):
            schemas.append(pq.read_schema(path))
    try:
        schema = pa.unify_schemas([_plain(schema) for schema in schemas], promote_options="permissive")
    except pa.ArrowException as error:
        found = " ".join(str(error).split())
        raise DatasetError(
            str(files[0].parent), "columns of the same types in all files", found, "mend them"
        ) from error
    features = schemas[0].metadata if len(files) == 1 else None
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_stream(sink, with_features(schema, features)) as writer:
        for path in files:
            for table in _tables(path):
                writer.write_table(_fill(table, schema))
    return Written()


def _tables(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = 0
    with _whole(path):
        batches = pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE)
    while True:
        with _whole(path):
            batch = next(batches, None)
        if batch is None:
            return
        table = pa.Table.from_batches([batch])
        _check_utf8(table, path, first)
        first += table.num_rows
        yield table


def _fill(table: Any, schema: Any) -> Any:
    """The table with the schema's columns; those it lacks are null."""
    import pyarrow as pa

    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field.name, pa.nulls(table.num_rows, field.type))
    return table.select(schema.names).cast(schema)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Arrow's complaints as one line that names the file."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        found = " ".join(str(error).split())
        raise DatasetError(str(path), "a whole parquet file", found, "fetch or write it again") from error


def _plain(schema: Any) -> Any:
    """The schema with categories as their values, without metadata."""
    import pyarrow as pa

    kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in schema.types]
    return pa.schema(list(zip(schema.names, kinds, strict=True)))


def _check_utf8(table: Any, path: Path, first: int) -> None:
    """`first`: row of the table's first row in its file."""
    import pyarrow as pa

    try:
        table.validate(full=True)
    except pa.ArrowInvalid as invalid:
        for name in table.column_names:
            for row, value in enumerate(table.column(name), start=first):
                try:
                    value.as_py()
                except UnicodeDecodeError as error:
                    where = f"{path}, row {row}, column {name!r}"
                    raise not_utf8(where, error.start, error.object[error.start]) from None
        found = " ".join(str(invalid).split())
        raise DatasetError(str(path), "valid columns", found, "fetch or write it again") from invalid

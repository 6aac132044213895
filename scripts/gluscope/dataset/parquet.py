"""Parquet files to one Arrow file of plain columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gluscope.core.errors import DatasetError
from gluscope.dataset.columns import Columns, join, plain

ROWS_AT_ONCE = 1000


def write_parquet(files: list[Path], asked: tuple[str, ...], out: Path) -> Columns:
    """Write all rows, in the order of the files, as an Arrow stream. asked: see `columns.join`.

    Raises DatasetError for a damaged file, text asked for that is not UTF-8, or has another type in another file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas = []
    for path in files:
        with _whole(path):
            schemas.append(pq.read_schema(path))
    columns = join(schemas, asked)
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_stream(sink, pa.schema(columns.types)) as writer:
        for path in files:
            first = 0
            for table in _tables(path, columns):
                writer.write_table(plain(table, columns, asked, str(path), first))
                first += table.num_rows
    return columns


def _tables(path: Path, columns: Columns) -> Iterator[Any]:
    """A file's rows, some at a time; only the columns that are kept are read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _whole(path):
        file = pq.ParquetFile(path)
        batches = file.iter_batches(ROWS_AT_ONCE, columns=[n for n in file.schema_arrow.names if n in columns.types])
    while True:
        with _whole(path):
            batch = next(batches, None)
        if batch is None:
            return
        yield pa.Table.from_batches([batch])


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Arrow's complaints as one line that names the file."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        found = " ".join(str(error).split())
        raise DatasetError(str(path), "a whole parquet file", found, "fetch or write it again") from error

"""Of an Arrow file is compared what is read, and nothing goes unnoticed in that, whatever the types of the columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from gluscope.core.errors import StoreError
from gluscope.dataset.arrow import ArrowFile
from gluscope.store import blocks
from gluscope.store.blocks import write_sums
from helpers.damage import altered, flip

ROWS, BATCH = 60, 7


def columns() -> dict[str, pa.Array]:
    """Sixty rows of every kind of column that a token data set has beside its tokens, with nulls; and of another."""
    rng = np.random.default_rng(0)
    texts = [None if i % 9 == 4 else "é" * (i % 13) + str(i) for i in range(ROWS)]
    return {
        "text": pa.array(texts),
        "flag": pa.array([None, True, False] * 20),
        "whole": pa.array(rng.integers(-99, 99, ROWS)),
        "half": pa.array(rng.normal(size=ROWS).astype(np.float16)),
        "number": pa.array([None if i % 7 == 3 else i / 3 for i in range(ROWS)]),
        "nothing": pa.array([None] * ROWS, pa.string()),
        "other": pa.array([None if text is None else [text] for text in texts]),
    }


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With blocks so small that most rows have their own."""
    monkeypatch.setattr(blocks, "BLOCK", 64)
    path, table = tmp_path / "data.arrow", pa.table(columns())
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=BATCH)
    write_sums(path)
    return path


def read(path: Path, rows: list[int], leave_out: str = "") -> list[Any]:
    """Some rows, a value at a time, as `TokenDataset` reads them."""
    stored, found = ArrowFile(path), []
    for row in rows:
        batch = stored.batches[row // BATCH]
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name == leave_out:
                continue
            stored.compare(column, row % BATCH, row % BATCH + 1)
            found.append(column[row % BATCH].as_py())
    return found


def test_values_come_back(file: Path) -> None:
    rows = pa.table(columns()).to_pylist()
    assert read(file, list(range(ROWS))) == [value for row in rows for value in row.values()]


def test_flipped_bits_are_refused_or_not_read(file: Path) -> None:
    rng, whole, refused = np.random.default_rng(1), file.read_bytes(), 0
    rows = [3, 20, 21, 48]
    before = read(file, rows, "other")  # of which all is compared
    for bit in rng.integers(0, 8 * len(whole), 300).tolist():
        with altered(file, flip(whole, bit)):
            try:
                assert read(file, rows, "other") == before
            except StoreError:
                refused += 1
            with pytest.raises(StoreError) as caught:
                read(file, rows)
            assert caught.value.redo == (str(file.parent),)
    assert 50 < refused < 250
    for size in (len(whole) - 9, 1000, 20, 0):
        with altered(file, whole[:size]), pytest.raises(StoreError, match=file.name):
            read(file, rows)


def test_only_what_is_read_is_compared(tmp_path: Path) -> None:
    """A text among many costs a few blocks."""
    path, table = tmp_path / "d.arrow", pa.table({"text": ["x" * 2000] * 2000})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    write_sums(path)
    stored = ArrowFile(path)
    stored.compare(stored.batches[1].column("text"), 700, 701)
    assert sum(stored._blocks._compared) <= 6
    other = path.read_bytes()
    with altered(path, flip(other, 8 * (len(other) // 4))):
        stored = ArrowFile(path)
        stored.compare(stored.batches[1].column("text"), 0, 1000)
        with pytest.raises(StoreError, match=r"d\.arrow: expected bytes"):
            stored.compare(stored.batches[0].column("text"), 0, 1000)


def test_rows_in_another_place_are_refused(file: Path) -> None:
    """Another file of the same length under this name."""
    turned = pa.Table.from_pylist(pa.table(columns()).to_pylist()[::-1], pa.table(columns()).schema)
    other = file.with_name("other.arrow")
    with pa.OSFile(str(other), "wb") as sink, pa.ipc.new_stream(sink, turned.schema) as writer:
        writer.write_table(turned, max_chunksize=BATCH)
    data = other.read_bytes()
    size = len(file.read_bytes())
    with altered(file, data[:size].ljust(size, b"\0")), pytest.raises(StoreError, match="found others"):
        read(file, list(range(ROWS)))

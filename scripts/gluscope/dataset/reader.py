"""Read a token data set: memory-mapped Arrow, without importing datasets or torch."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import StoreError
from gluscope.dataset.record import REDO, TokenRecord

IDS, MASK, SOURCE_ROW, SOURCE_OFFSET = "input_ids", "attention_mask", "source_row", "source_offset"
COPY_OF = "copy_of"
OWN_COLUMNS = (IDS, MASK, SOURCE_ROW, SOURCE_OFFSET, COPY_OF)


class TokenDataset:
    """The rows of a token data set's folder; `len()` is their number.

    Nothing is read until asked for, and then only the pages of the file that it touches.
    """

    def __init__(self, folder: str | Path, record: TokenRecord) -> None:
        self.folder, self.record = Path(folder), record

    @classmethod
    def open(cls, folder: str | Path) -> TokenDataset:
        """Raises StoreError where files are missing or cut short; `record.verify` reads every byte instead."""
        record = TokenRecord.read(folder)
        record.check_sizes(folder)
        return cls(folder, record)

    def __len__(self) -> int:
        return self.record.rows

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 [row], tokens."""
        return np.concatenate([np.diff(offsets) for _, offsets in self._ids]).astype(np.int64)

    def input_ids(self, row: int) -> np.ndarray:
        """int32 [token], not writable. Raises IndexError for a row that the data set lacks."""
        chunk, inner = self._place(row)
        values, offsets = self._ids[chunk]
        return values[offsets[inner] : offsets[inner + 1]]

    def rows(self, start: int, stop: int) -> list[np.ndarray]:
        """`input_ids` of the rows start to stop - 1."""
        return [self.input_ids(row) for row in range(start, stop)]

    def digest(self, start: int, stop: int) -> str:
        """Digest, in hex, of lengths and token ids of the rows start to stop - 1: all that a scan sees of them.

        Raises IndexError for rows that the data set lacks.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"rows {start} to {stop - 1} of a data set of {len(self)} rows")
        found = hashlib.sha256(np.ascontiguousarray(self.lengths[start:stop], dtype="<i8").tobytes())
        for (values, offsets), first in zip(self._ids, self._starts.tolist(), strict=True):
            low, high = (min(max(row - first, 0), len(offsets) - 1) for row in (start, stop))
            found.update(np.ascontiguousarray(values[offsets[low] : offsets[high]], dtype="<i4").tobytes())
        return found.hexdigest()[:32]

    def copies(self, start: int, stop: int) -> np.ndarray:
        """bool [row], for the rows start to stop - 1: whether a lower row of the data set has the same tokens.

        The rows before decide it, so that it stays as it is where a data set grows behind them.
        """
        chunks = self._table.column(COPY_OF).slice(start, stop - start).chunks
        return np.concatenate([np.zeros(0, bool), *(_view(chunk, np.int64) >= 0 for chunk in chunks)])

    def text(self, row: int) -> str | None:
        """The row's text; None where the data set holds none. With long texts split: this piece's part."""
        column = self.record.text_column
        return None if column is None else self._value(column, row)

    def metadata(self, row: int) -> dict[str, Any]:
        """All other columns of the source, and `source_row`, the row there (and `source_offset`, see build.py)."""
        hidden = {IDS, MASK, COPY_OF, self.record.text_column}
        return {name: self._value(name, row) for name in self._table.column_names if name not in hidden}

    @cached_property
    def _table(self) -> Any:
        """pyarrow.Table of all columns over memory maps."""
        import pyarrow as pa

        tables = []
        for name in _data_files(self.folder):
            try:
                tables.append(pa.ipc.open_stream(pa.memory_map(str(self.folder / name))).read_all())
            except (OSError, pa.ArrowInvalid) as error:
                raise StoreError(
                    str(self.folder / name), "an Arrow stream", " ".join(str(error).split()), REDO
                ) from error
        table = pa.concat_tables(tables)
        if table.num_rows != self.record.rows:
            raise StoreError(str(self.folder), f"{self.record.rows} rows", str(table.num_rows), REDO)
        return table

    @cached_property
    def _ids(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(values int32 [token], offsets [row + 1]) of each chunk."""
        chunks = self._table.column(IDS).chunks
        return [(_view(chunk.values), _view(chunk.offsets)) for chunk in chunks if len(chunk)]

    @cached_property
    def _starts(self) -> np.ndarray:
        """First row of each chunk."""
        sizes = [len(offsets) - 1 for _, offsets in self._ids]
        return np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def _place(self, row: int) -> tuple[int, int]:
        """Chunk and row in it."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a data set of {len(self)} rows")
        chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
        return chunk, row - int(self._starts[chunk])

    def _value(self, column: str, row: int) -> Any:
        chunk, inner = self._place(row)
        chunks = [part for part in self._table.column(column).chunks if len(part)]
        return chunks[chunk][inner].as_py()


def _view(array: Any, kind: type = np.int32) -> np.ndarray:
    """A pyarrow array of whole numbers as numpy's, not copied. (Arrow's own to_numpy imports pandas: 0.3 s.)"""
    return np.frombuffer(array.buffers()[1], kind)[array.offset : array.offset + len(array)]


def _data_files(folder: Path) -> list[str]:
    """Arrow files of the folder in the order of their rows, as state.json lists them."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return [file["filename"] for file in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(str(folder / "state.json"), "the list of Arrow files", type(error).__name__, REDO) from error

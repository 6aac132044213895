"""Read a token data set: memory-mapped Arrow, without importing datasets or torch.

What is read is compared with its checksums first, as far as it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import StoreError
from gluscope.dataset.arrow import ArrowFile
from gluscope.dataset.record import TokenRecord
from gluscope.store.damage import to_redo

IDS, MASK, SOURCE_ROW, SOURCE_OFFSET = "input_ids", "attention_mask", "source_row", "source_offset"
COPY_OF = "copy_of"
TURNS = "chat_turns"
OWN_COLUMNS = (IDS, MASK, SOURCE_ROW, SOURCE_OFFSET, COPY_OF, TURNS)


class TokenDataset:
    """The rows of a token data set's folder; `len()` is their number.

    Nothing is read until asked for, and then only the pages of the file that it touches. What is not as it was written
    raises StoreError.
    """

    def __init__(self, folder: str | Path, record: TokenRecord) -> None:
        self.folder, self.record = Path(folder), record

    @classmethod
    def open(cls, folder: str | Path) -> TokenDataset:
        """Raises StoreError where files are missing or cut short; `record.verify` reads every byte besides."""
        record = TokenRecord.read(folder)
        record.check_files(folder)
        return cls(folder, record)

    def __len__(self) -> int:
        return self.record.rows

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 [row], tokens."""
        return np.concatenate([np.diff(ids.ends(0, len(ids))) for ids in self._ids]).astype(np.int64)

    def input_ids(self, row: int) -> np.ndarray:
        """int32 [token], not writable. Raises IndexError for a row that the data set lacks."""
        chunk, inner = self._place(row)
        return self._ids[chunk].tokens(inner, inner + 1)

    def digest(self, start: int, stop: int) -> str:
        """Digest, in hex, of lengths and token ids of the rows start to stop - 1: all that a scan sees of them.

        Raises IndexError for rows that the data set lacks.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"rows {start} to {stop - 1} of a data set of {len(self)} rows")
        found = hashlib.sha256(np.ascontiguousarray(self.lengths[start:stop], dtype="<i8").tobytes())
        for batch, low, high in self._parts(start, stop):
            found.update(np.ascontiguousarray(self._ids[batch].tokens(low, high), dtype="<i4").tobytes())
        return found.hexdigest()[:32]

    def is_one_of(self, ids: Sequence[int], start: int, stop: int) -> np.ndarray:
        """bool [token], of the rows start to stop - 1 one after another: whether a token's id is one of `ids`."""
        parts = [self._ids[batch].tokens(low, high) for batch, low, high in self._parts(start, stop)]
        return np.isin(np.concatenate([np.zeros(0, np.int32), *parts]), ids)

    def copies(self, start: int, stop: int) -> np.ndarray:
        """bool [row], for the rows start to stop - 1: whether a lower row of the data set has the same tokens.

        The rows before decide it, so that it stays as it is where a data set grows behind them.
        """
        found = [np.zeros(0, bool)]
        for number, low, high in self._parts(start, stop):
            file, batch = self._batches[number]
            values, at = _view(file, batch.column(COPY_OF), np.int64)
            file.compare_bytes(at + 8 * low, at + 8 * high)
            found.append(values[low:high] >= 0)
        return np.concatenate(found)

    def metadata(self, row: int) -> dict[str, Any]:
        """All other columns of the source, and `source_row`, the row there (and `source_offset`, see build.py)."""
        hidden = {IDS, MASK, COPY_OF, TURNS, self.record.text_column}
        names = self._batches[0][1].schema.names
        return {name: self._value(name, row) for name in names if name not in hidden}

    def turns(self, row: int) -> list[tuple[int, int, str]]:
        """Where each message of chat data stands: (first token, token behind the last, role); else none."""
        if self.record.settings.messages_column is None:
            return []
        return [(begin, end, role) for begin, end, role in json.loads(self._value(TURNS, row))]

    @cached_property
    def _batches(self) -> list[tuple[ArrowFile, Any]]:
        """All record batches over memory maps, each with its file."""
        files = [ArrowFile(self.folder / name) for name in _data_files(self.folder)]
        batches = [(file, batch) for file in files for batch in file.batches]
        rows = sum(batch.num_rows for _, batch in batches)
        if rows != self.record.rows:
            raise to_redo(StoreError, self.folder, str(self.folder), f"{self.record.rows} rows", str(rows))
        return batches

    @cached_property
    def _ids(self) -> list[_Ids]:
        """Of each batch."""
        return [_Ids(file, batch.column(IDS)) for file, batch in self._batches]

    @cached_property
    def _starts(self) -> np.ndarray:
        """First row of each batch."""
        sizes = [len(ids) for ids in self._ids]
        return np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Batches that the rows start to stop - 1 lie in, each with the first of them in it and the one behind."""
        for batch, (first, ids) in enumerate(zip(self._starts.tolist(), self._ids, strict=True)):
            low, high = max(start - first, 0), min(stop - first, len(ids))
            if low < high:
                yield batch, low, high

    def _place(self, row: int) -> tuple[int, int]:
        """Batch and row in it."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a data set of {len(self)} rows")
        chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
        return chunk, row - int(self._starts[chunk])

    def _value(self, column: str, row: int) -> Any:
        chunk, inner = self._place(row)
        file, batch = self._batches[chunk]
        array = batch.column(column)
        file.compare(array, inner, inner + 1)
        return array[inner].as_py()


class _Ids:
    """The token ids of a batch, compared before they are given, by their place in the file: pages ask for thousands."""

    def __init__(self, file: ArrowFile, column: Any) -> None:
        self._compare = file.compare_bytes
        self._ends, self._ends_at = _view(file, column.offsets)
        self._values, self._values_at = _view(file, column.values)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def ends(self, start: int, stop: int) -> np.ndarray:
        """int32 [row + 1]: where the rows start to stop - 1 begin, and where the last ends."""
        self._compare(self._ends_at + 4 * start, self._ends_at + 4 * (stop + 1))
        return self._ends[start : stop + 1]

    def tokens(self, start: int, stop: int) -> np.ndarray:
        """int32 [token], of the rows start to stop - 1, one after another."""
        ends = self.ends(start, stop)
        low, high = int(ends[0]), int(ends[-1])
        self._compare(self._values_at + 4 * low, self._values_at + 4 * high)
        return self._values[low:high]


def _view(file: ArrowFile, array: Any, kind: type = np.int32) -> tuple[np.ndarray, int]:
    """A pyarrow array of whole numbers as numpy's, not copied, and where it begins in the file.

    (Arrow's own to_numpy imports pandas: 0.3 s.)
    """
    buffer, first = array.buffers()[1], array.offset
    values: np.ndarray = np.frombuffer(buffer, kind)
    return values[first : first + len(array)], file.place(buffer) + values.itemsize * first


def _data_files(folder: Path) -> list[str]:
    """Arrow files of the folder in the order of their rows, as state.json lists them."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return [file["filename"] for file in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        where, found = str(folder / "state.json"), type(error).__name__
        raise to_redo(StoreError, folder, where, "the list of Arrow files", found) from error

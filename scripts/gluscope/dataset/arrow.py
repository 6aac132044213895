"""An Arrow stream in a file that is mapped into memory: what is read of it is compared with checksums first.

Where the parts of an array lie in the file follows from the addresses of its buffers, which Arrow does not copy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import StoreError
from gluscope.store.blocks import Blocks, sums_file
from gluscope.store.damage import Damaged, as_error, to_redo

_CONTINUED = 0xFFFFFFFF


class ArrowFile:
    """An Arrow stream; `batches` are its record batches that have rows.

    Raises StoreError, by which the folder is to be made anew, for anything that is not as it was written.
    """

    def __init__(self, path: Path, checked: bool) -> None:
        """checked: there is a file of checksums beside it. Otherwise nothing is compared but what Arrow looks at."""
        import pyarrow as pa

        self.path = path
        with self._refused():
            self._buffer = pa.memory_map(str(path)).read_buffer()
            data = np.frombuffer(self._buffer, np.uint8)
            self._blocks = Blocks(data, np.fromfile(sums_file(path), "<u4")) if checked else None
            if self._blocks is not None:
                self._compare_headers(self._blocks)
            batches = pa.ipc.open_stream(self._buffer).read_all().to_batches()
            self.batches = [batch for batch in batches if batch.num_rows]

    def compare(self, array: Any, start: int, stop: int) -> None:
        """Compare what the items start to stop - 1 of an array of one of the batches lie in. Raises StoreError."""
        if self._blocks is not None and start < stop:
            with self._refused():
                self._compare(array, start, stop)

    def compare_offsets(self, array: Any, start: int, stop: int) -> None:
        """The same of the places of items of a list array, not of what is in them."""
        if self._blocks is not None:
            with self._refused():
                self._compare_bits(array.buffers()[1], 32, array.offset + start, array.offset + stop + 1)

    @contextmanager
    def _refused(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except Damaged as error:
            raise as_error(error, self.path.parent, str(self.path)) from error
        except (OSError, ValueError, pa.ArrowException) as error:
            found = " ".join(str(error).split())[:200]
            raise to_redo(StoreError, self.path.parent, str(self.path), "an Arrow stream", found) from error

    def _compare_headers(self, blocks: Blocks) -> None:
        """All that says where the columns lie. Without that Arrow would be led astray before it was noticed."""
        import pyarrow as pa

        at, size = 0, self._buffer.size
        while at + 8 <= size:
            blocks.compare(at, at + 8)
            mark, length = struct.unpack("<II", self._buffer[at : at + 8].to_pybytes())
            if mark != _CONTINUED or at + 8 + length > size:
                raise Damaged("an Arrow message, found something else")
            if not length:
                return
            blocks.compare(at, at + 8 + length)
            message = pa.ipc.read_message(self._buffer.slice(at))
            body = 0 if message.body is None else message.body.size
            if message.type == "dictionary":
                blocks.compare(at, at + 8 + length + body)
            at += 8 + length + body

    def _compare(self, array: Any, start: int, stop: int) -> None:
        import pyarrow.types as of

        kind, buffers = array.type, array.buffers()
        begin, end = array.offset + start, array.offset + stop
        self._compare_bits(buffers[0], 1, begin, end)
        if of.is_null(kind) or start >= stop:
            return
        if hasattr(array, "storage"):
            self._compare(array.storage, start, stop)
        elif of.is_dictionary(kind):
            self._compare(array.indices, start, stop)  # dictionaries were compared with the headers
        elif of.is_struct(kind):
            for number in range(kind.num_fields):
                self._compare(array.field(number), start, stop)
        elif of.is_fixed_size_list(kind):
            self._compare(array.values, begin * kind.list_size, end * kind.list_size)
        elif _has_offsets(kind):
            wide = of.is_large_list(kind) or of.is_large_string(kind) or of.is_large_binary(kind)
            self._compare_bits(buffers[1], 64 if wide else 32, begin, end + 1)
            places = np.frombuffer(buffers[1], np.int64 if wide else np.int32)
            low, high = int(places[begin]), int(places[end])
            if of.is_nested(kind):
                self._compare(array.values, low, high)
            else:
                self._compare_bits(buffers[2], 8, low, high)
        elif of.is_primitive(kind) or of.is_fixed_size_binary(kind):
            self._compare_bits(buffers[1], kind.bit_width, begin, end)
        else:
            self._compare_all()

    def _compare_bits(self, buffer: Any, width: int, begin: int, end: int) -> None:
        """Items begin to end - 1, of `width` bits each, of a buffer; None where the array has no such buffer."""
        if buffer is None or begin >= end or not buffer.size:
            return
        first = buffer.address - self._buffer.address
        if not 0 <= first <= first + buffer.size <= self._buffer.size:
            self._compare_all()  # a copy
        elif self._blocks is not None:
            self._blocks.compare(first + begin * width // 8, first + -(-end * width // 8))

    def _compare_all(self) -> None:
        if self._blocks is not None:
            self._blocks.compare(0, self._buffer.size)


def _has_offsets(kind: Any) -> bool:
    import pyarrow.types as of

    lists = (of.is_list, of.is_large_list, of.is_map)
    return any(is_one(kind) for is_one in (*lists, of.is_string, of.is_binary, of.is_large_string, of.is_large_binary))

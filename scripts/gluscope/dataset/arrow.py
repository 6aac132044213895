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

    def __init__(self, path: Path) -> None:
        """path: the file, beside which its checksums lie."""
        import pyarrow as pa

        self.path = path
        with self._refused():
            self._buffer = pa.memory_map(str(path)).read_buffer()
            data = np.frombuffer(self._buffer, np.uint8)
            self._blocks = Blocks(data, np.fromfile(sums_file(path), "<u4"), self._error)
            self._compare_headers(self._blocks)
            batches = pa.ipc.open_stream(self._buffer).read_all().to_batches()
            self.batches = [batch for batch in batches if batch.num_rows]

    def compare(self, array: Any, start: int, stop: int) -> None:
        """Compare what the items start to stop - 1 of an array of one of the batches lie in. Raises StoreError.

        Of types that token data sets do not have the whole file is compared.
        """
        import pyarrow as pa

        kind, buffers = array.type, array.buffers()
        begin, end = array.offset + start, array.offset + stop
        if start >= stop:
            return
        if pa.types.is_string(kind):
            self._compare_items(buffers[1], 32, begin, end + 1)
            places = np.frombuffer(buffers[1], np.int32)
            self._compare_items(buffers[2], 8, int(places[begin]), int(places[end]))
        elif pa.types.is_primitive(kind):
            self._compare_items(buffers[1], kind.bit_width, begin, end)
        else:
            self.compare_bytes(0, self._buffer.size)
        self._compare_items(buffers[0], 1, begin, end)

    def compare_bytes(self, start: int, stop: int) -> None:
        """The same of bytes of the file."""
        self._blocks.compare(start, stop)

    def place(self, buffer: Any) -> int:
        """Where in the file a buffer of one of the batches begins."""
        return int(buffer.address - self._buffer.address)

    @contextmanager
    def _refused(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except Damaged as error:
            raise self._error(error) from error
        except (OSError, ValueError, pa.ArrowException) as error:
            found = " ".join(str(error).split())[:200]
            raise to_redo(StoreError, self.path.parent, str(self.path), "an Arrow stream", found) from error

    def _error(self, damage: Damaged) -> Exception:
        return as_error(damage, self.path.parent, str(self.path))

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

    def _compare_items(self, buffer: Any, width: int, begin: int, end: int) -> None:
        """Items begin to end - 1, of `width` bits each, of a buffer; None where the array has no such buffer."""
        if buffer is None or begin >= end:
            return
        first = self.place(buffer)
        self.compare_bytes(first + begin * width // 8, first + -(-end * width // 8))

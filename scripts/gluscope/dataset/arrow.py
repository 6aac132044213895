"""An Arrow stream in a file that is mapped into memory: what is read of it is compared with checksums first.

Where the parts of an array lie in the file follows from the addresses of its buffers, which Arrow does not copy.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

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
            self._blocks = Blocks(data, np.fromfile(sums_file(path), "<u4"), self._error) if checked else None
            if self._blocks is not None:
                self._compare_headers(self._blocks)
            batches = pa.ipc.open_stream(self._buffer).read_all().to_batches()
            self.batches = [batch for batch in batches if batch.num_rows]

    def compare(self, array: Any, start: int, stop: int) -> None:
        """Compare what the items start to stop - 1 of an array of one of the batches lie in. Raises StoreError."""
        if self._blocks is not None and start < stop:
            self._compare(array, _form(array.type), start, stop)

    def compare_bytes(self, start: int, stop: int) -> None:
        """The same of bytes of the file."""
        if self._blocks is not None:
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

    def _compare(self, array: Any, form: _Form, start: int, stop: int) -> None:
        buffers, begin, end = array.buffers(), array.offset + start, array.offset + stop
        if buffers[0] is not None:
            self._compare_bits(buffers[0], 1, begin, end)
        if start >= stop or form.name == "null":
            return
        if form.name == "bits":
            self._compare_bits(buffers[1], form.width, begin, end)
        elif form.name == "list of equals":
            self._compare(array.values, form.parts[0], begin * form.width, end * form.width)
        elif form.name == "struct":
            for number, part in enumerate(form.parts):
                self._compare(array.field(number), part, start, stop)
        elif form.name == "places":
            self._compare_bits(buffers[1], form.width, begin, end + 1)
            places = np.frombuffer(buffers[1], np.int64 if form.width == 64 else np.int32)
            low, high = int(places[begin]), int(places[end])
            if form.parts:
                self._compare(array.values, form.parts[0], low, high)
            else:
                self._compare_bits(buffers[2], 8, low, high)
        elif form.name == "words":
            self._compare(array.indices, form.parts[0], start, stop)  # the words were compared with the headers
        elif form.name == "extension":
            self._compare(array.storage, form.parts[0], start, stop)
        else:
            self._compare_all()

    def _compare_bits(self, buffer: Any, width: int, begin: int, end: int) -> None:
        """Items begin to end - 1, of `width` bits each, of a buffer; None where the array has no such buffer."""
        if buffer is None or begin >= end:
            return
        first = self.place(buffer)
        if 0 <= first < self._buffer.size:
            self.compare_bytes(first + begin * width // 8, first + -(-end * width // 8))
        else:
            self._compare_all()  # a copy, or empty

    def _compare_all(self) -> None:
        self.compare_bytes(0, self._buffer.size)


class _Form(NamedTuple):
    """How arrays of a type lie in their buffers. width: bits of an item or of a place in others, or items of a list."""

    name: str
    width: int = 0
    parts: tuple[_Form, ...] = ()


@lru_cache(maxsize=256)
def _form(kind: Any) -> _Form:
    """Of an Arrow type."""
    import pyarrow as pa
    import pyarrow.types as of

    if isinstance(kind, pa.BaseExtensionType):
        return _Form("extension", parts=(_form(kind.storage_type),))
    if of.is_null(kind):
        return _Form("null")
    if of.is_dictionary(kind):
        return _Form("words", parts=(_form(kind.index_type),))
    if of.is_struct(kind):
        return _Form("struct", parts=tuple(_form(kind.field(number).type) for number in range(kind.num_fields)))
    if of.is_fixed_size_list(kind):
        return _Form("list of equals", kind.list_size, (_form(kind.value_type),))
    if of.is_list(kind) or of.is_large_list(kind):
        return _Form("places", 64 if of.is_large_list(kind) else 32, (_form(kind.value_type),))
    if of.is_map(kind):
        return _Form("places", 32, (_Form("struct", parts=(_form(kind.key_type), _form(kind.item_type))),))
    if of.is_string(kind) or of.is_binary(kind):
        return _Form("places", 32)
    if of.is_large_string(kind) or of.is_large_binary(kind):
        return _Form("places", 64)
    if of.is_primitive(kind) or of.is_fixed_size_binary(kind):
        return _Form("bits", kind.bit_width)
    return _Form("others")

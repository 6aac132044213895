"""Bytes of text files, packed or not, to strings, with errors that name the place."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from gluscope.core.errors import DatasetError

# Endings of packed files. pyarrow brings zstd along.
PACKED = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
# What a file begins with that is in another encoding than UTF-8. UTF-32's marks begin with UTF-16's.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Surrogates:
    """Counts the lone surrogates (from JSON escapes; no UTF-8 can hold them) that were replaced by U+FFFD."""

    replaced: int = 0

    def clean(self, value: Any) -> Any:
        """`value` (of JSON) with every lone surrogate in its strings replaced."""
        if isinstance(value, str):
            text, count = _SURROGATE.subn("\ufffd", value)
            self.replaced += count
            return text
        if isinstance(value, dict):
            return {self.clean(key): self.clean(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.clean(item) for item in value]
        return value


def open_bytes(path: Path) -> BinaryIO:
    """The file, unpacked where its name says that it is packed."""
    openers: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open, "zstd": _open_zstd}
    return cast(BinaryIO, openers.get(PACKED.get(path.suffix.lower(), ""), open)(path, "rb"))


def _open_zstd(path: Path, mode: str) -> BinaryIO:
    import pyarrow as pa

    return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(path), mode), "zstd"), 1 << 20)


def text_lines(path: Path) -> Iterator[str]:
    """Lines of a text file, each with its line feed; only that ends a line. A byte order mark is left out.

    The text is UTF-8, or what a byte order mark says. Raises DatasetError for a packed file that is cut short, and with
    the offset of bytes that are no text.
    """
    with _whole(path), open_bytes(path) as file:
        encoding = _encoding(file)
        if encoding is not None:
            yield from _other_encoding(file, path, encoding)
            return
        before = 0
        for line in file:
            text = decode(line, path, before)
            yield text if before else text.removeprefix("\ufeff")
            before += len(line)


def read_text(path: Path) -> str:
    """A whole file."""
    return "".join(text_lines(path))


def decode(data: bytes, path: Path, before: int = 0) -> str:
    """UTF-8 to text; `before`: offset of `data` in its file. Raises DatasetError with the offset of the bad byte."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(str(path), before + error.start, data[error.start]) from None


def not_utf8(where: str, offset: int, byte: int) -> DatasetError:
    step = "save it as UTF-8 (iconv -f latin1 -t utf-8 OLD > NEW, with the encoding that it has)"
    return DatasetError(where, "UTF-8", f"byte 0x{byte:02x} at offset {offset}", step)


def _encoding(file: BinaryIO) -> str | None:
    """The encoding that a file's first bytes name; None for UTF-8."""
    start = cast(io.BufferedReader, file).peek(4)[:4]
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)


def _other_encoding(file: BinaryIO, path: Path, encoding: str) -> Iterator[str]:
    try:
        yield from io.TextIOWrapper(file, encoding, newline="\n")
    except UnicodeDecodeError as error:
        expected = f"{encoding.upper()}, as its first bytes say"
        raise DatasetError(str(path), expected, error.reason, "save it as UTF-8") from None


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """What a packed file's library complains of, as one line."""
    kind = PACKED.get(path.suffix.lower())
    try:
        yield
    except (EOFError, OSError, lzma.LZMAError) as error:
        if kind is None or (isinstance(error, OSError) and error.errno is not None):
            raise
        found = " ".join(str(error).split())
        raise DatasetError(str(path), f"a whole {kind} file", found, "fetch or write it again") from error

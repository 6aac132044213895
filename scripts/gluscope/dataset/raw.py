"""Bytes of text files to strings, with errors that name the place."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from gluscope.core.errors import DatasetError

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
    """The file, unpacked where its name ends in .gz."""
    return cast(BinaryIO, gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb"))


def lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Lines as bytes, each with its line feed. Raises DatasetError for a gzip file that is cut short."""
    try:
        yield from file
    except (EOFError, gzip.BadGzipFile) as error:
        raise DatasetError(str(path), "a whole gzip file", str(error), "fetch or write it again") from error


def read_text(path: Path) -> str:
    """A whole file. A byte order mark at its start is left out."""
    with open_bytes(path) as file:
        return decode(b"".join(lines(file, path)), path).removeprefix("\ufeff")


def decode(data: bytes, path: Path, before: int = 0) -> str:
    """UTF-8 to text; `before`: offset of `data` in its file. Raises DatasetError with the offset of the bad byte."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(str(path), before + error.start, data[error.start]) from None


def not_utf8(where: str, offset: int, byte: int) -> DatasetError:
    step = "save it as UTF-8 (iconv -f latin1 -t utf-8 OLD > NEW)"
    return DatasetError(where, "UTF-8", f"byte 0x{byte:02x} at offset {offset}", step)

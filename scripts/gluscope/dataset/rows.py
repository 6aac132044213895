"""Rows of files, one dictionary each.

Python's own parsers read all but parquet: they take what Arrow's refuse (lone surrogates, columns of mixed types), and
an error can name the line.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, cast

from gluscope.core.errors import DatasetError
from gluscope.dataset.arrow_rows import parquet_rows
from gluscope.dataset.columns import Row
from gluscope.dataset.files import Found, name_in
from gluscope.dataset.raw import Surrogates, read_text, text_lines

_DELIMITERS = {"csv": ",;\t|", "tsv": "\t"}


def rows_of(found: Found, asked: tuple[str, ...], surrogates: Surrogates) -> Iterator[tuple[str, Row]]:
    """All rows, each with its place for an error. asked: columns that are looked for, the one of the texts first; a csv
    file may have been written with another delimiter than a comma.

    Raises DatasetError that names file and line of what cannot be read.
    """
    for path in found.files:
        if found.kind == "txt":
            name = name_in(found.root, path).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            yield str(path), {"text": read_text(path), "file": name}
        elif found.kind == "jsonl":
            yield from _json(path, surrogates)
        elif found.kind == "parquet":
            yield from parquet_rows(path, asked[0])
        else:
            yield from _separated(path, _DELIMITERS[found.kind], asked)


def _json(path: Path, surrogates: Surrogates) -> Iterator[tuple[str, Row]]:
    """An object a line; a file named .json may also be a list of objects, or one object, over many lines."""
    for number, line in enumerate(text_lines(path), start=1):
        if line.isspace() or not line:
            continue
        if ".json" in (suffix.lower() for suffix in path.suffixes) and _goes_on(line):
            yield from _whole_json(path, surrogates)
            return
        where = f"{path}, line {number}"
        row = _object(_parse(line, where), where)
        yield where, _clean(row, where, surrogates) if "\\u" in line else row


def _goes_on(line: str) -> bool:
    """Whether a JSON file's first line is only the beginning of its value, or a list."""
    if line.lstrip()[0] == "[":
        return True
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def _whole_json(path: Path, surrogates: Surrogates) -> Iterator[tuple[str, Row]]:
    text = read_text(path)
    lines = text.splitlines()
    value = None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if len(lines) > 1 and lines[1].lstrip()[:1] == "{":  # an object a line after all, and the first is broken
            _parse(lines[0], f"{path}, line 1")
        raise _bad(str(path), _words(error, text)) from None
    rows = value if isinstance(value, list) else [value]
    for number, row in enumerate(rows):
        where = f"{path}, entry {number}"
        yield where, _clean(_object(row, where), where, surrogates)


def _clean(row: Row, where: str, surrogates: Surrogates) -> Row:
    try:
        return cast(Row, surrogates.clean(row))
    except RecursionError as error:
        raise _bad(where, _words(error, "")) from None


def _object(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise _bad(where, f"a {type(value).__name__}")
    return value


def _parse(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _bad(where, _words(error, line)) from None


def _words(error: Exception, text: str) -> str:
    """What is wrong with a JSON text."""
    if "\0" in text[:1000]:
        return "NUL characters: perhaps UTF-16 without a byte order mark, which `iconv -f utf-16le -t utf-8` reads"
    if isinstance(error, RecursionError):
        return "lists or objects nested too deeply"
    return str(error)


def _bad(where: str, found: str) -> DatasetError:
    return DatasetError(where, "a JSON object", found, "correct it, or take it out")


def _separated(path: Path, delimiters: str, asked: tuple[str, ...]) -> Iterator[tuple[str, Row]]:
    """Rows below a line of column names, as spreadsheets write them; all values are text."""
    csv.field_size_limit(sys.maxsize)
    lines = text_lines(path)
    first = next(lines, "")
    if "\0" in first:
        raise DatasetError(str(path), "a line of column names", _words(ValueError(), first), "save it as UTF-8")
    found = next((mark for mark in delimiters if set(asked) & set(_fields(first, mark))), delimiters[0])
    reader = csv.reader(chain([first], lines), delimiter=found, strict=True)
    try:
        names = next(reader, [])
        for values in reader:
            if not values:
                continue
            where = f"{path}, line {reader.line_num}"
            if len(values) != len(names):
                step = "see whether a quotation mark is missing there"
                raise DatasetError(where, f"{len(names)} fields, as its first line has", str(len(values)), step)
            yield where, dict(zip(names, values, strict=True))
    except csv.Error as error:
        step = "see whether a quotation mark is missing there"
        raise DatasetError(f"{path}, line {reader.line_num}", "rows of values", str(error), step) from None


def _fields(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []

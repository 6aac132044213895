"""What becomes of a source's columns: numbers, truth values and strings stay as they are, all else becomes text.

Nobody asked for most columns, so none of them stops a run: what has no text either is left out and named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gluscope.dataset.reader import OWN_COLUMNS

Row = dict[str, Any]
# What a column holds: some of null, bool, int (one that a float can hold), long, float, str, bytes, other.
Kinds = dict[str, set[str]]
MOST_COLUMNS = 1000  # keys that differ from row to row are no columns
_EXACT = 2**53  # whole numbers up to here are floats as well
_JSON = (bool, int, float, list, tuple, dict)


@dataclass
class Columns:
    """Columns of a source. types: what each that is kept is stored as: `int64`, `float64`, `bool` or `string`.
    as_text: those that were made text. left_out: why one is not kept, by name. own: those that are not kept because
    a token data set has one of that name itself, such as `input_ids`."""

    types: dict[str, str] = field(default_factory=dict)
    as_text: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    own: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, kinds: Mapping[str, set[str]], text_column: str) -> Columns:
        """text_column: the one that texts are made of; whether it holds any is said row by row."""
        columns = cls()
        for name, kind in kinds.items():
            held = {"str"} if name == text_column and "bytes" not in kind else kind - {"null"}
            if name in OWN_COLUMNS:
                columns.own.append(name)
            elif "bytes" in held:
                columns.left_out[name] = "bytes"
            elif len(columns.types) >= MOST_COLUMNS:
                columns.left_out[name] = f"more than {MOST_COLUMNS} columns"
            elif held and held <= {"int", "long"}:
                columns.types[name] = "int64"
            elif held and held <= {"int", "float"}:
                columns.types[name] = "float64"
            elif held == {"bool"}:
                columns.types[name] = "bool"
            else:
                columns.types[name] = "string"
                if held - {"str"}:
                    columns.as_text.append(name)
        return columns

    def stored(self, row: Row) -> Row:
        """A row as it is stored: of the columns that are kept, null where it has none."""
        values = {name: row.get(name) for name in self.types}
        return {name: as_text(value) if self.types[name] == "string" else value for name, value in values.items()}


def kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool() | str() | float() | bytes():
            return type(value).__name__
        case int():
            return "int" if abs(value) <= _EXACT else "long" if -(2**63) <= value < 2**63 else "other"
    return "other"


def as_text(value: Any) -> str | None:
    """Strings and null as they are, numbers, lists and objects as JSON, all else as Python writes it."""
    if value is None or isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, _JSON) else str(value)
    except (TypeError, ValueError, RecursionError):
        return str(value)

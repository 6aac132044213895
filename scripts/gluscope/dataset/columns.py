"""What becomes of a source's columns: numbers, truth values and strings stay as they are, all else becomes text.

Nobody asked for most columns, so none of them stops a run: what has no text either is left out and named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gluscope.core.errors import DatasetError
from gluscope.dataset.raw import not_utf8

MOST_COLUMNS = 1000  # keys that differ from row to row are no columns


@dataclass
class Columns:
    """Columns of a source. types: pyarrow type of each that is kept. as_text: those that were made text (JSON, or how
    dates and decimals are written). left_out: why one is not kept, by name."""

    types: dict[str, Any] = field(default_factory=dict)
    as_text: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def join(schemas: Iterable[Any], asked: Iterable[str]) -> Columns:
    """Plain columns of tables with these Arrow schemas. asked: names of columns that keep whatever type they have.

    Raises DatasetError where one of those has several.
    """
    met: dict[str, list[Any]] = {}
    for schema in schemas:
        for name, kind in zip(schema.names, schema.types, strict=True):
            met.setdefault(name, []).append(_values_type(kind))
    columns, wanted = Columns(), set(asked)
    for name, kinds in met.items():
        if len(columns.types) >= MOST_COLUMNS and name not in wanted:
            columns.left_out[name] = f"more than {MOST_COLUMNS} columns"
            continue
        common = _common(kinds)
        if name in wanted:
            if common is None:
                found = " and ".join(sorted({str(kind) for kind in kinds}))
                raise DatasetError(f"column {name!r}", "one type in all files", found, "mend them")
            columns.types[name] = common
        elif any(map(_holds_bytes, kinds)):
            columns.left_out[name] = f"bytes ({kinds[0]})"
        elif common is not None and _is_plain(common):
            columns.types[name] = common
        else:
            columns.types[name] = _string()
            columns.as_text.append(name)
    return columns


def plain(table: Any, columns: Columns, asked: Iterable[str], where: str = "", first: int = 0) -> Any:
    """A table with these columns; those that it lacks are null.

    asked: as in `join`; text among them that is not UTF-8 is refused, with `where` and its row (`first`: row of the
    table's first row), in others it is replaced.
    """
    import pyarrow as pa

    arrays, wanted = [], set(asked)
    for name, kind in columns.types.items():
        if name not in table.schema.names:
            arrays.append(pa.nulls(table.num_rows, kind))
            continue
        column = table.column(table.schema.names.index(name)).combine_chunks()
        array = _decoded(column)
        if pa.types.is_string(kind):
            array = _as_text(array, f"{where}, row {{row}}, column {name!r}" if name in wanted else None, first)
        arrays.append(array.cast(kind, safe=name in wanted))
    return pa.table(arrays, schema=pa.schema(columns.types))


def _string() -> Any:
    import pyarrow as pa

    return pa.string()


def _values_type(kind: Any) -> Any:
    """The type of the values: categories as what they name, all strings as one type."""
    import pyarrow as pa

    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
    return pa.string() if _is_string(kind) else kind


def _is_string(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return bool(numbers or pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_null(kind))


def _common(kinds: list[Any]) -> Any:
    """A type that holds all values exactly; None where there is none."""
    import pyarrow as pa

    different = list(dict.fromkeys(kind for kind in kinds if not pa.types.is_null(kind)))
    if len(different) < 2:
        return different[0] if different else pa.string()
    whole, parts = all(map(pa.types.is_integer, different)), all(map(pa.types.is_floating, different))
    lists = all(pa.types.is_list(kind) or pa.types.is_large_list(kind) for kind in different)
    if not (whole or parts or lists):
        return None
    try:
        schemas = [pa.schema({"x": kind}) for kind in different]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    kind = _values_type(kind)
    if _is_string(kind):
        return False
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    if str(kind) == "binary_view":
        return True
    return any(_holds_bytes(kind.field(i).type) for i in range(kind.num_fields))


def _decoded(array: Any) -> Any:
    """The values themselves: of categories what they name, of an extension what it is stored as."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    while isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        return array.cast(pa.timestamp(array.type.unit))  # in UTC: not every machine knows every zone
    return pc.run_end_decode(array) if pa.types.is_run_end_encoded(array.type) else array


def _as_text(array: Any, where: str | None, first: int) -> Any:
    """Strings as they are, what Arrow can write as text in its way, all else as JSON."""
    import pyarrow as pa

    if _is_string(array.type):
        return _utf8(array, where, first)
    if not (pa.types.is_nested(array.type) or pa.types.is_boolean(array.type)):
        try:
            return array.cast(pa.string())
        except pa.ArrowException:
            pass
    return pa.array([None if value is None else as_json(value) for value in _values(array)], pa.string())


def _values(array: Any) -> list[Any]:
    """Python values; how it is written for one that Python has no form for, and None for one that nobody can write."""
    try:
        return list(array.to_pylist())
    except Exception:  # Arrow raises many kinds
        return [_written(value) for value in array]


def _written(value: Any) -> str | None:
    try:
        return str(value) if value.is_valid else None
    except Exception:  # Arrow raises many kinds
        return None


def as_json(value: Any) -> str:
    """A value as JSON text; what JSON has no form for as Python writes it."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _utf8(array: Any, where: str | None, first: int) -> Any:
    """where: of the error, with `{row}`; None to replace what is not UTF-8."""
    import pyarrow as pa

    array = array.cast(pa.large_string()) if not pa.types.is_string(array.type) else array
    try:
        array.validate(full=True)
        return array
    except pa.ArrowInvalid:
        raw = array.cast(pa.large_binary()).to_pylist()
    for row, value in enumerate(raw, start=first):
        try:
            if value is not None:
                value.decode("utf-8")
        except UnicodeDecodeError as error:
            if where is not None:
                raise not_utf8(where.format(row=row), error.start, value[error.start]) from None
    return pa.array([None if value is None else value.decode("utf-8", "replace") for value in raw], pa.string())

"""Columns of the table of neurons: what each is, for the file and for docs/outputs.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from gluscope.core.cases import QUANTITIES, SignCase


@dataclass(frozen=True)
class Column:
    """A column, or with {case} and {quantity} in its name one for each. null: where its value is null."""

    name: str
    type: str
    unit: str
    null: str
    meaning: str


def of_case(case: SignCase, columns: Iterable[Column]) -> Iterator[tuple[str, pa.DataType]]:
    """Names and types of these columns for one case, those of quantities written out."""
    listed = [column for column in columns if "{quantity}" in column.name]
    for column in columns:
        if column not in listed:
            yield column.name.format(case=case.value), type_of(column)
    for quantity in QUANTITIES:
        for column in listed:
            yield column.name.format(case=case.value, quantity=quantity.value), type_of(column)


def type_of(column: Column) -> pa.DataType:
    """As the file has it."""
    return pa.dictionary(pa.int8(), pa.string()) if column.name == "rw_class" else pa.type_for_alias(column.type)

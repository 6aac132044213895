"""What others say of neurons, as columns of the table of neurons."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from gluscope.core.cases import CASES
from gluscope.core.convention import view
from gluscope.descriptions.types import Descriptions
from gluscope.export.columns import Column, of_case, type_of

_NONE = "nobody says anything"
DESCRIPTION_COLUMNS = (
    Column("{case}_description", "string", "", _NONE, "what others say of the neuron in this case: the best scored"),
    Column("{case}_description_by", "string", "", _NONE, "whose words these are"),
    Column("{case}_description_score", "float32", "", "no score", "theirs, as they measure it"),
)


def description_fields() -> Iterator[tuple[str, pa.DataType]]:
    """Names and types, case by case."""
    for case in CASES:
        yield from of_case(case, DESCRIPTION_COLUMNS)


def description_columns(known: Descriptions, layer: int, sign: np.ndarray, convention: str) -> dict[str, Any]:
    """The columns of one layer. sign: int8 [neuron]. convention: the table's."""
    types = {column.name.format(case=case.value): type_of(column) for case in CASES for column in DESCRIPTION_COLUMNS}
    values: dict[str, list[Any]] = {name: [None] * len(sign) for name in types}
    for place in range(len(sign)):
        for one in reversed([view(one, sign[place], one.convention, convention) for one in known.of(layer, place)]):
            for name in (case.value for case in one.cases):
                values[f"{name}_description"][place] = one.words.encode("utf-8", "replace").decode("utf-8")
                values[f"{name}_description_by"][place] = one.by
                values[f"{name}_description_score"][place] = one.score
    return {name: pa.array(column, types[name]) for name, column in values.items()}

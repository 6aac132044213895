"""What a language model says of neurons, as columns of the table of neurons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from gluscope.core.cases import CASES
from gluscope.core.convention import view
from gluscope.explain.types import Explanation
from gluscope.export.columns import Column, of_case, type_of

_NONE, _FEW = "not explained, or nothing that could be used", "not explained, or too few texts"
WORDS_COLUMNS = (
    Column("{case}_words", "string", "", _NONE, "what a language model says of the case"),
    Column("{case}_words_detection", "float32", "", _FEW, "how well texts are found by these words; 0.5 by chance"),
    Column("{case}_words_near_misses", "float32", "", _FEW, "the same among the same tokens in another case"),
    Column("{case}_words_fuzzing", "float32", "", _FEW, "how well the marked token is told by them; 0.5 by chance"),
    Column("{case}_words_judged", "int32", "", _NONE, "texts that the first of these scores rests on"),
)


def words_fields() -> Iterator[tuple[str, pa.DataType]]:
    """Names and types, case by case."""
    for case in CASES:
        yield from of_case(case, WORDS_COLUMNS)


def words_columns(found: Mapping[int, Explanation], sign: np.ndarray, convention: str) -> dict[str, Any]:
    """The columns of one layer. found: by place, of the raw convention. sign: int8 [neuron]; convention: wanted."""
    types = {column.name.format(case=case.value): type_of(column) for case in CASES for column in WORDS_COLUMNS}
    values: dict[str, list[Any]] = {name: [None] * len(sign) for name in types}
    for place, explanation in found.items():
        for case, said in view(explanation, int(sign[place]), "raw", convention).cases.items():
            if not said.words:
                continue
            own, scores = f"{case.value}_words", said.scores
            values[own][place] = said.words.encode("utf-8", "replace").decode("utf-8")
            for name in ("detection", "near misses", "fuzzing"):
                score = scores.get(name)
                values[f"{own}_{name.replace(' ', '_')}"][place] = score and score.value
            first = scores.get("detection")
            values[f"{own}_judged"][place] = first.true + first.false if first else 0
    return {name: pa.array(column, types[name]) for name, column in values.items()}

"""The tables of docs/outputs.md, from the schema.

`PYTHONPATH=scripts:tests python -m helpers.outputs_table` writes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from gluscope.core import schema
from gluscope.export.columns import Column
from gluscope.export.described import DESCRIPTION_COLUMNS
from gluscope.export.in_words import WORDS_COLUMNS
from gluscope.export.neurons import COLUMNS, EFFECT_COLUMNS
from helpers.checkout import REPO

PAGE = REPO / "docs/outputs.md"
TABLES = {
    "summary": {**schema.SUMMARY, **schema.PER_RUN},
    "cache": schema.CACHE,
    "weights": schema.WEIGHTS,
    "replay": schema.REPLAY,
}


def table(arrays: dict[str, schema.StoredArray]) -> str:
    """A Markdown table with one row an array."""
    head = "| array | dims | dtype | unit | unknown | meaning |\n|---|---|---|---|---|---|\n"
    rows = (
        f"| `{name}` | {', '.join(one.dims)} | {one.dtype} | {one.unit} |"
        f" {'NaN' if math.isnan(one.fill) else f'{one.fill:g}'} | {one.meaning} |\n"
        for name, one in arrays.items()
    )
    return head + "".join(rows)


def neurons_table(columns: Iterable[Column]) -> str:
    """Columns of neurons.parquet."""
    head = "| column | type | unit | null | meaning |\n|---|---|---|---|---|\n"
    return head + "".join(f"| `{c.name}` | {c.type} | {c.unit} | {c.null} | {c.meaning} |\n" for c in columns)


def filled(text: str) -> str:
    """The page with every table as the schema has it."""
    tables = {name: table(arrays) for name, arrays in TABLES.items()}
    tables |= {"neurons": neurons_table(COLUMNS), "effects": neurons_table(EFFECT_COLUMNS)}
    tables |= {"descriptions": neurons_table(DESCRIPTION_COLUMNS), "words": neurons_table(WORDS_COLUMNS)}
    for name, rows in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text, found = re.subn(pattern, lambda m, rows=rows: m[1] + rows + m[2], text, flags=re.S)
        if found != 1:
            raise ValueError(f"{PAGE}: expected one place for the table {name}, found {found}")
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

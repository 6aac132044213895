"""Activation data sets as sjgerstner publishes them: one row a neuron, ordered layer * d_mlp + neuron.

Per case `{case}_freq`; per case and quantity `{case}_{hook}_max_values` and `..._max_indices` (k each, rows of the
token data set) and `{case}_{hook}_mean`. `swish` has lists only where the gate is closed. Values are in the refactored
convention. Positions, counts and sums are not in the format: positions come back as unknown (-1), counts from the
frequency and the number of tokens, sums as mean x count.

Where fewer than k texts have a token in a case, we write NaN and -1; the original tool writes 0 and some row. A mean
of no tokens is NaN in both: its page maker formats means as numbers, which null is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.errors import DatasetError
from gluscope.core.provenance import RunProvenance
from gluscope.summary.types import EMPTY_EXAMPLE, EMPTY_VALUE, LayerSummary

SKIPS = "gluscope"  # a key of the Arrow schema's metadata
# The order in which the original tool goes through them, lists before the mean.
_QUANTITIES = (Quantity.POST, Quantity.IN, Quantity.GATE, Quantity.ACT)


def published_columns() -> Iterator[tuple[str, pa.DataType, SignCase, Quantity | None, str]]:
    """Name, type, case, quantity and kind (freq, values, indices, mean) of every column behind layer and neuron."""
    for case in CASES:
        yield f"{case.value}_freq", pa.float32(), case, None, "freq"
        for quantity in _QUANTITIES:
            name = f"{case.value}_{quantity.hook}"
            if quantity in case.listed:
                yield f"{name}_max_values", pa.list_(pa.float32()), case, quantity, "values"
                yield f"{name}_max_indices", pa.list_(pa.int64()), case, quantity, "indices"
            yield f"{name}_mean", pa.float32(), case, quantity, "mean"


def schema() -> pa.Schema:
    """Columns and types of a published activation data set."""
    named = [(name, kind) for name, kind, *_ in published_columns()]
    return pa.schema([("layer", pa.int64()), ("neuron", pa.int64()), *named])


def skips_of(provenance: RunProvenance) -> dict[str, Any]:
    """What a table's frequencies leave out, of a summary's; empty where they are of all tokens."""
    return (
        {key: getattr(provenance, key) for key in ("tokens", "skipped", "skip_tokens", "skipped_ids")}
        if provenance.skipped
        else {}
    )


def lists(rows: np.ndarray) -> pa.ListArray:
    """[neuron, k] as a column of lists."""
    flat = np.ascontiguousarray(rows)
    offsets = np.arange(0, flat.size + 1, flat.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.ravel()))


def to_table(layer: int, summary: LayerSummary, tokens: int) -> pa.Table:
    """One layer's rows. `tokens`: all real tokens scanned. Means of cases that never occur are NaN."""
    columns: list[pa.Array] = [
        pa.array(np.full(summary.neurons, layer, np.int64)),
        pa.array(np.arange(summary.neurons, dtype=np.int64)),
    ]
    for _, _, case, quantity, kind in published_columns():
        count = summary.count[:, case.index]
        if quantity is None:
            columns.append(pa.array((count / tokens).astype(np.float32)))
        elif kind == "mean":
            mean = summary.sum[:, case.index, quantity.index] / np.maximum(count, 1)
            columns.append(pa.array(np.where(count > 0, mean, np.nan).astype(np.float32)))
        else:
            stored = summary.extreme_value if kind == "values" else summary.extreme_example
            columns.append(lists(stored[:, case.index, quantity.index]))
    return pa.Table.from_arrays(columns, schema=schema())


def _counts(frequency: np.ndarray, tokens: int) -> np.ndarray:
    """The count whose frequency, rounded to float32, is `frequency` (the nearest to frequency * tokens)."""
    guess = np.rint(frequency.astype(np.float64) * tokens).astype(np.int64)
    best = guess
    # float32 has 24 bits: above 2^24 tokens the product may be off by one or two.
    for step in (2, -2, 1, -1, 0):
        near = np.clip(guess + step, 0, tokens)
        best = np.where((near / tokens).astype(np.float32) == frequency, near, best)
    return best


def _matrix(table: pa.Table, name: str, k: int, dtype: type) -> np.ndarray:
    """A column of lists of length k as [neuron, k]."""
    column = table.column(name).combine_chunks()
    lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
    if lengths.size and (lengths.size > 1 or lengths[0] != k):
        raise DatasetError(name, f"{k} entries a neuron", f"between {lengths.min()} and {lengths.max()}", f"set k: {k}")
    return np.asarray(column.flatten(), dtype=dtype).reshape(-1, k)


def width(table: pa.Table) -> int:
    """k of a published table: entries of its first list."""
    return len(table.column(f"{CASES[0].value}_{Quantity.POST.hook}_max_values")[0])


def from_table(table: pa.Table, tokens: int) -> LayerSummary:
    """The statistics of one layer's rows; no samples, positions unknown (-1).

    Raises DatasetError if a column is missing or a list has not the length of the others.
    """
    if gone := [name for name in schema().names if name not in table.column_names]:
        raise DatasetError("published activations", f"a column {gone[0]}", f"{len(gone)} of them missing", "check id")
    k = width(table)
    summary = LayerSummary.empty(table.num_rows, k)
    for name, _, case, quantity, kind in published_columns():
        if quantity is None:
            frequency = table.column(name).to_numpy().astype(np.float32)
            summary.count[:, case.index] = _counts(frequency, tokens)
        elif kind == "mean":
            # A mean of no tokens may be stored as null, NaN or 0: the count says that it is undefined.
            mean = np.nan_to_num(table.column(name).to_numpy().astype(np.float64))
            summary.sum[:, case.index, quantity.index] = mean * summary.count[:, case.index]
        elif kind == "values":
            summary.extreme_value[:, case.index, quantity.index] = _matrix(table, name, k, np.float32)
        else:
            summary.extreme_example[:, case.index, quantity.index] = _matrix(table, name, k, np.int64)
    _drop_fillers(summary)
    return summary


def _drop_fillers(summary: LayerSummary) -> None:
    """Make places unfilled that no text stands behind.

    All lists of a case are filled by the same number of texts, those with a token in the case. Gate is never 0 there,
    so its list tells that number; a 0 of act or post before that place is a value.
    """
    gate = summary.extreme_value[:, :, Quantity.GATE.index]
    texts = np.count_nonzero(np.abs(gate) > 0, axis=-1)[:, :, None, None]
    filler = (summary.extreme_value == 0) & (np.arange(summary.k) >= texts)
    unfilled = filler | np.isnan(summary.extreme_value) | (summary.extreme_example < 0)
    summary.extreme_value[unfilled] = EMPTY_VALUE
    summary.extreme_example[unfilled] = EMPTY_EXAMPLE

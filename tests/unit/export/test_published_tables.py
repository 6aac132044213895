"""Published activation data sets: the columns, a round trip that loses nothing the format can hold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from gluscope.core.cases import CASES, QUANTITIES, Quantity, SignCase
from gluscope.core.errors import DatasetError
from gluscope.export.published import from_table, schema, to_table
from gluscope.summary.types import LayerSummary

TOKENS = 20_000_003


def a_summary(neurons: int = 40, k: int = 4, seed: int = 0) -> LayerSummary:
    rng = np.random.default_rng(seed)
    summary = LayerSummary.empty(neurons, k)
    cuts = np.sort(rng.integers(0, TOKENS, (neurons, 3)), axis=1)
    summary.count[:] = np.diff(cuts, axis=1, prepend=0, append=TOKENS)
    summary.count[0] = [TOKENS, 0, 0, 0]
    summary.count[1] = [0, TOKENS - 1, 1, 0]
    for case in CASES:
        occurs = summary.count[:, case.index] > 0
        for quantity in QUANTITIES:
            at = (slice(None), case.index, quantity.index)
            summary.sum[at] = case.sign(quantity) * rng.random(neurons) * summary.count[:, case.index]
            if quantity in case.listed:
                values = case.sign(quantity) * -np.sort(-rng.random((neurons, k)), axis=1)
                summary.extreme_value[at] = np.where(occurs[:, None], values, np.nan)
                summary.extreme_example[at] = np.where(occurs[:, None], rng.integers(0, 45_000, (neurons, k)), -1)
    return summary


def test_columns_are_the_published_ones() -> None:
    names = schema().names
    assert names[:6] == [
        "layer",
        "neuron",
        "gate+_in+_freq",
        "gate+_in+_hook_post_max_values",
        "gate+_in+_hook_post_max_indices",
        "gate+_in+_hook_post_mean",
    ]
    assert len(names) == 2 + 4 + 4 * 4 + 14 * 2
    assert "gate-_in-_swish_max_values" in names
    assert "gate+_in-_swish_max_values" not in names
    assert "gate+_in-_swish_mean" in names
    assert schema().field("gate-_in+_hook_pre_max_indices").type == pa.list_(pa.int64())


def test_round_trip_is_exact() -> None:
    summary = a_summary()
    table = to_table(3, summary, TOKENS)
    again = from_table(table, TOKENS)
    np.testing.assert_array_equal(again.extreme_value, summary.extreme_value)
    np.testing.assert_array_equal(again.extreme_example, summary.extreme_example)
    assert (again.extreme_position == -1).all()
    # As text, because a NaN is not equal to itself.
    assert repr(to_table(3, again, TOKENS).to_pydict()) == repr(table.to_pydict())
    # float32 frequencies of 20 M tokens leave the counts uncertain by a token or so, never by more.
    assert np.abs(again.count - summary.count).max() <= 1
    defined = summary.count > 0
    ratio = again.sum[defined] / again.count[defined][:, None]
    np.testing.assert_allclose(ratio, summary.sum[defined] / summary.count[defined][:, None], rtol=2**-23)


def test_mean_of_a_case_that_never_occurs_is_a_number_that_can_be_formatted() -> None:
    """The original page maker writes f"{mean:.2f}"."""
    table = to_table(0, a_summary(), TOKENS)
    column = table.column(f"{SignCase.GATE_NEG_IN_NEG.value}_{Quantity.POST.hook}_mean")
    assert column.null_count == 0
    assert f"{column[0].as_py():.2f}" == "nan"
    assert from_table(table, TOKENS).sum[0, SignCase.GATE_NEG_IN_NEG.index].tolist() == [0, 0, 0, 0]


def test_missing_column_and_ragged_lists_are_refused() -> None:
    table = to_table(0, a_summary(), TOKENS)
    with pytest.raises(DatasetError, match="gate-_in-_freq"):
        from_table(table.drop_columns(["gate-_in-_freq"]), TOKENS)
    name = "gate-_in-_hook_pre_max_values"
    ragged = pa.array([[1.0] * 4] * 39 + [[1.0] * 3], pa.list_(pa.float32()))
    with pytest.raises(DatasetError, match=r"4 entries.*between 3 and 4"):
        from_table(table.set_column(table.column_names.index(name), name, ragged), TOKENS)

"""Which texts a page shows."""

from __future__ import annotations

import numpy as np
from gluscope.core.activation import act
from gluscope.core.cases import CASES, LISTS, Quantity, SignCase
from gluscope.summary.examples import BANDS, example_rows, typical_tokens
from gluscope.summary.types import LayerSummary, SampleTokens
from helpers.summaries import refactor

SILU = act("silu")


def summary(samples: int = 400, seed: int = 0) -> tuple[LayerSummary, SampleTokens]:
    rng = np.random.default_rng(seed)
    found = LayerSummary.empty(1, 3, samples)
    for number, (case, quantity) in enumerate(LISTS):
        found.extreme_example[0, case.index, quantity.index, :2] = [5 * number, 7]
    found.sample_gate, found.sample_in = rng.standard_normal((2, 1, samples)).astype(np.float16)
    rows = np.sort(rng.integers(0, 90, samples))
    return found, SampleTokens(rows, np.arange(samples, dtype=np.int32))


def test_rows_of_all_fourteen_lists_each_once() -> None:
    found, _ = summary()
    found.extreme_example[0, SignCase.GATE_POS_IN_POS.index, Quantity.ACT.index] = 999  # no list of its own
    rows = example_rows(found)
    assert rows.dtype == np.int64
    assert rows.tolist() == sorted({7, *range(0, 70, 5)})
    assert example_rows(LayerSummary.empty(1, 3)).tolist() == []


def test_typical_tokens_lie_in_their_bands() -> None:
    found, sample = summary()
    for per_band in (1, 3):
        typical = typical_tokens(found, sample, SILU, per_band)
        assert len(typical) == len(CASES) * (len(BANDS) - 1) * per_band
        gate, in_ = (part[0].astype(np.float64) for part in (found.sample_gate, found.sample_in))
        post = np.abs(SILU(gate) * in_)
        for token in typical:
            place = token.position  # positions count through the sample here
            assert sample.example[place] == token.row
            mine = (np.sign(gate) == token.case.gate_sign) & (np.sign(in_) == token.case.in_sign)
            assert mine[place]
            low, high = np.quantile(post[mine], [token.low, token.high])
            assert low <= post[place] <= high
        assert len({(token.row, token.position) for token in typical}) == len(typical)
    rows = example_rows(found, typical)
    assert set(rows.tolist()) == set(example_rows(found).tolist()) | {token.row for token in typical}


def test_typical_tokens_of_few_samples() -> None:
    found, sample = summary(samples=5)
    found.sample_gate[0], found.sample_in[0] = [1, 2, 3, -1, 0], [1, 1, 1, np.nan, 1]
    typical = typical_tokens(found, sample, SILU, per_band=4)
    assert [token.case for token in typical] == [SignCase.GATE_POS_IN_POS] * 3
    assert sorted(token.position for token in typical) == [0, 1, 2]
    found.sample_gate, found.sample_in = np.zeros((2, 1, 0), np.float16)
    assert typical_tokens(found, SampleTokens(sample.example[:0], sample.position[:0]), SILU) == ()


def test_both_conventions_choose_the_same_texts() -> None:
    found, sample = summary()
    other = refactor(found, np.array([-1], np.int8))
    here, there = typical_tokens(found, sample, SILU), typical_tokens(other, sample, SILU)
    assert {(t.case.flipped, t.row, t.position) for t in here} == {(t.case, t.row, t.position) for t in there}
    np.testing.assert_array_equal(example_rows(found, here), example_rows(other, there))

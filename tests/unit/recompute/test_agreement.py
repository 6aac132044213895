"""The check of recomputed against listed values: what it reports, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from gluscope.core.activation import act
from gluscope.core.cases import LISTS, QUANTITIES, Quantity, SignCase
from gluscope.core.errors import StoreError
from gluscope.recompute.agreement import agreement
from gluscope.recompute.types import Recomputed
from gluscope.summary.types import LayerSummary

SILU = act("silu")
BOUND = 12.0  # as large as gate and in could be: |x| |w|


def values(seed: int = 0, source_dtype: str = "float16") -> Recomputed:
    rng = np.random.default_rng(seed)
    gate, in_ = rng.standard_normal((2, 120)).astype(np.float32)
    rows, lengths = np.arange(0, 60, 5), np.full(12, 10)
    return Recomputed(2, 9, rows, lengths, gate, in_, "cache", source_dtype, BOUND, BOUND)


def listed(found: Recomputed, k: int = 3) -> LayerSummary:
    """The summary that a scan of just these texts would have made, by sorting."""
    summary = LayerSummary.empty(1, k)
    activated = SILU(found.gate)
    numbers = dict(zip(QUANTITIES, (found.gate, found.in_, activated, activated * found.in_), strict=True))
    for case, quantity in LISTS:
        mine = (np.sign(found.gate) == case.gate_sign) & (np.sign(found.in_) == case.in_sign)
        size = np.where(mine, np.abs(numbers[quantity]), -1).reshape(len(found.rows), -1)
        for place, text in enumerate(np.argsort(-size.max(axis=1))[:k]):
            position = int(size[text].argmax())
            at = (0, case.index, quantity.index, place)
            summary.extreme_value[at] = numbers[quantity][text * 10 + position]
            summary.extreme_example[at], summary.extreme_position[at] = found.rows[text], position
    return summary


def test_equal_values_agree_to_the_last_bit_or_nearly() -> None:
    found = values()
    result = agreement(listed(found), found, SILU, "float32")
    assert result.compared == len(LISTS) * 3
    assert result.absolute <= 2.0**-23
    assert result.relative <= 2.0**-22


def test_reports_the_largest_difference_and_where_it_is() -> None:
    found = values()
    summary = listed(found)
    at = (0, SignCase.GATE_POS_IN_NEG.index, Quantity.IN.index, 1)
    summary.extreme_value[at] += 0.003
    result = agreement(summary, found, SILU, "float32")
    place = int(summary.extreme_example[at]), int(summary.extreme_position[at])
    assert result.worst == (SignCase.GATE_POS_IN_NEG, Quantity.IN, *place)
    assert result.absolute == pytest.approx(0.003, rel=1e-3)
    assert result.relative == pytest.approx(0.003 / abs(summary.extreme_value[at]), rel=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
def test_noise_that_formats_explain_is_no_fault(dtype: str, stored: str) -> None:
    """Noise as large as the formats' unit roundoffs make it at worst: u |x| |w| for both gate and in."""
    u = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
    for seed in range(20):
        found = values(seed, stored)
        summary, rng = listed(found), np.random.default_rng(seed)
        noise = rng.choice([-1, 1], (2, 120)) * BOUND * (u[dtype] + u[stored])
        moved = replace(
            found, gate=found.gate + noise[0].astype(np.float32), in_=found.in_ + noise[1].astype(np.float32)
        )
        assert agreement(summary, moved, SILU, dtype).absolute > 0


def other_texts(found: Recomputed) -> Recomputed:
    return replace(found, gate=np.roll(found.gate, 10), in_=np.roll(found.in_, 10))


def next_token(found: Recomputed) -> Recomputed:
    return replace(found, gate=np.roll(found.gate, 1), in_=np.roll(found.in_, 1))


def exchanged(found: Recomputed) -> Recomputed:
    return replace(found, gate=found.in_, in_=found.gate)


def other_sign(found: Recomputed) -> Recomputed:
    return replace(found, in_=-found.in_)


def not_a_number(found: Recomputed) -> Recomputed:
    return replace(found, gate=np.full_like(found.gate, np.nan))


@pytest.mark.parametrize("change", [other_texts, next_token, exchanged, other_sign, not_a_number])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_files_that_do_not_belong_together(change: Callable[[Recomputed], Recomputed], dtype: str) -> None:
    found = values()
    with pytest.raises(StoreError, match="L2/N9 "):
        agreement(listed(found), change(found), SILU, dtype)


def test_a_listed_text_or_token_that_was_not_recomputed() -> None:
    found = values()
    summary = listed(found)
    gone = replace(found, rows=found.rows + 1)
    with pytest.raises(StoreError, match="L2/N9"):
        agreement(summary, gone, SILU, "float32")
    summary.extreme_position[0, 0, 0, 0] = 10
    with pytest.raises(StoreError, match="token 10"):
        agreement(summary, found, SILU, "float32")


def test_nothing_listed() -> None:
    result = agreement(LayerSummary.empty(1, 3), values(), SILU, "float32")
    assert (result.compared, result.absolute, result.relative, result.worst) == (0, 0.0, 0.0, None)

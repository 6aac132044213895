"""Positions of extremes from recomputed values, where statistics name texts alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gluscope.core.activation import act
from gluscope.core.cases import CASES, LISTS, Quantity
from gluscope.core.convention import view
from gluscope.recompute.positions import with_positions
from gluscope.recompute.types import Recomputed
from gluscope.summary.types import LayerSummary
from helpers import pages
from helpers.summaries import assert_equal, refactor


def recomputed(made: pages.Made) -> Recomputed:
    lengths = np.array([len(gate) for gate in made.gate])
    values: dict[str, Any] = {"gate": np.concatenate(made.gate), "in_": np.concatenate(made.in_)}
    return Recomputed(1, 7, np.arange(len(lengths)), lengths, **values, source="model", dtype="float32",
                      gate_bound=9.0, in_bound=9.0)  # fmt: skip


def without(summary: LayerSummary) -> LayerSummary:
    return replace(summary, extreme_position=np.full_like(summary.extreme_position, -1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_positions_are_those_of_a_scan(seed: int, flip: bool) -> None:
    made = pages.make(seed=seed, length=25, k=8)
    scan = refactor(made.summary, np.array([-1])) if flip else made.summary
    values = view(recomputed(made), -1, "raw", "refactored") if flip else recomputed(made)
    assert_equal(with_positions(without(scan), values, act("silu")), scan)


def test_what_is_known_stays() -> None:
    made = pages.make()
    assert with_positions(made.summary, recomputed(made), act("silu")) is made.summary
    half = without(made.summary)
    at = (0, 0, Quantity.POST.index, 0)
    half.extreme_position[at] = 1234
    found = with_positions(half, recomputed(made), act("silu"))
    assert found.extreme_position[at] == 1234
    made.summary.extreme_position[at] = 1234
    assert_equal(found, made.summary)


def test_the_first_of_equal_tokens_wins_and_a_text_without_the_case_is_no_example() -> None:
    gate = np.array([1, 2, 2, -1, 1, 3], np.float32)
    in_ = np.array([1, 1, 1, 5, -1, -1], np.float32)
    found = Recomputed(0, 0, np.array([4, 9]), np.array([4, 2]), gate, in_, "model", "float32", 9.0, 9.0)
    summary = LayerSummary.empty(1, 3)
    for case, quantity in LISTS:
        summary.extreme_example[0, case.index, quantity.index] = [9, 4, -1]
        summary.extreme_value[0, case.index, quantity.index] = [3, 2, np.nan]
    before = summary.extreme_example.copy()
    placed = with_positions(summary, found, act("silu"))
    np.testing.assert_array_equal(summary.extreme_example, before)
    expected = {CASES[0]: ([4, -1, -1], [1, -1, -1]), CASES[1]: ([9, -1, -1], [1, -1, -1]),
                CASES[2]: ([4, -1, -1], [3, -1, -1]), CASES[3]: ([-1] * 3, [-1] * 3)}  # fmt: skip
    for case, quantity in LISTS:
        if quantity is Quantity.IN and case in CASES[:2]:
            continue  # in is 1 everywhere there, so its first token is another
        at = (0, case.index, quantity.index)
        assert (placed.extreme_example[at].tolist(), placed.extreme_position[at].tolist()) == expected[case]
        assert np.isnan(placed.extreme_value[at]).tolist() == [row < 0 for row in expected[case][0]]
    assert placed.extreme_position[0, 0, Quantity.IN.index, 0] == 0

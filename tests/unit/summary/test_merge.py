"""Joining statistics: against plain lists, in any order; the compiled way gives the same."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from gluscope.core.cases import CASES, LISTS, Quantity
from gluscope.core.errors import ShardMismatch
from gluscope.summary.merge import add
from gluscope.summary.types import LayerSummary
from helpers.merging import merge
from helpers.summaries import assert_equal, random_layer, refactor
from hypothesis import given, settings
from hypothesis import strategies as st

NEURONS = 7


def parts(seed: int, k: int, number: int, samples: int = 2) -> list[LayerSummary]:
    """Statistics of disjoint rows, whose numbers are not in the order of the parts."""
    rng = np.random.default_rng(seed)
    return [random_layer(rng, NEURONS, k, samples, range(9 * i, 9 * i + 9)) for i in rng.permutation(number)]


def by_hand(summaries: list[LayerSummary], k: int) -> LayerSummary:
    """Every list as Python sorts it."""
    whole = LayerSummary.empty(NEURONS, k)
    for neuron in range(NEURONS):
        for case, quantity in LISTS:
            place = neuron, case.index, quantity.index
            entries = [
                (-abs(float(value)), int(example), float(value), int(position))
                for part in summaries
                for value, example, position in zip(
                    part.extreme_value[place], part.extreme_example[place], part.extreme_position[place], strict=True
                )
                if example >= 0
            ]
            for i, (_, example, value, position) in enumerate(sorted(entries)[:k]):
                whole.extreme_value[place][i] = value
                whole.extreme_example[place][i], whole.extreme_position[place][i] = example, position
    whole.count[:] = sum(part.count for part in summaries)
    whole.sum[:] = np.sum([part.sum for part in summaries], axis=0)
    return whole


def bare(summary: LayerSummary) -> LayerSummary:
    return replace(summary, sample_gate=summary.sample_gate[:, :0], sample_in=summary.sample_in[:, :0])


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 6), number=st.integers(2, 4))
def test_both_ways_agree_with_sorted_lists(seed: int, k: int, number: int) -> None:
    summaries = parts(seed, k, number)
    merged, quick = summaries[0], bare(copy.deepcopy(summaries[0]))
    for part in summaries[1:]:
        merged = merge(merged, part)
        add(quick, part)
    expected = by_hand(summaries, k)
    for found in (merged, quick):
        np.testing.assert_allclose(found.sum, expected.sum, rtol=1e-12, atol=1e-12)
        assert_equal(bare(replace(found, sum=expected.sum)), expected)
    np.testing.assert_array_equal(merged.sample_gate, np.concatenate([part.sample_gate for part in summaries], axis=1))


def test_order_and_nothing_make_no_difference() -> None:
    one, two, three = (bare(part) for part in parts(3, 4, 3))
    straight, other = merge(merge(one, two), three), merge(three, merge(two, one))
    assert_equal(replace(straight, sum=other.sum), other)
    empty = LayerSummary.empty(NEURONS, 4)
    for with_nothing in (merge(one, empty), merge(empty, one)):
        assert_equal(with_nothing, one)
    for left, right in ((one, empty), (empty, one)):
        total = copy.deepcopy(left)
        add(total, right)
        assert_equal(total, one)


@pytest.mark.parametrize("join", [merge, add])
def test_what_does_not_belong_together_is_refused(join) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    one = LayerSummary.empty(NEURONS, 2)
    for other in (LayerSummary.empty(NEURONS, 3), LayerSummary.empty(NEURONS + 1, 2)):
        with pytest.raises(ShardMismatch, match="neurons with k"):
            join(one, other)
    twice = random_layer(rng, NEURONS, 2, 0, range(5, 6))
    assert (twice.extreme_example == 5).any()
    with pytest.raises(ShardMismatch, match="row 5 in two"):
        join(twice, copy.deepcopy(twice))


def test_refactoring_swaps_and_negates_and_goes_back() -> None:
    (part,) = parts(5, 3, 1)
    sign = np.array([1, -1, 1, -1, -1, 1, 1], np.int8)
    flipped = refactor(part, sign)
    assert_equal(refactor(flipped, sign), replace(part, sum=part.sum + 0.0))
    for neuron in range(NEURONS):
        if sign[neuron] > 0:
            assert_equal(flipped.neuron(neuron), part.neuron(neuron))
            continue
        np.testing.assert_array_equal(flipped.sample_in[neuron], -part.sample_in[neuron])
        np.testing.assert_array_equal(flipped.sample_gate[neuron], part.sample_gate[neuron])
        for case in CASES:
            assert flipped.count[neuron, case.index] == part.count[neuron, case.flipped.index]
            for quantity in Quantity:
                here, there = (neuron, case.index, quantity.index), (neuron, case.flipped.index, quantity.index)
                factor = -1 if quantity in (Quantity.IN, Quantity.POST) else 1
                np.testing.assert_array_equal(flipped.extreme_value[here], factor * part.extreme_value[there])
                np.testing.assert_array_equal(flipped.extreme_example[here], part.extreme_example[there])
                assert flipped.sum[here] == factor * part.sum[there]


def test_refactoring_and_merging_commute() -> None:
    one, two = (bare(part) for part in parts(8, 4, 2))
    sign = np.array([-1, 1, -1, 1, 1, -1, 1], np.int8)
    assert_equal(refactor(merge(one, two), sign), merge(refactor(one, sign), refactor(two, sign)))

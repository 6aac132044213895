"""Laws of the plan of shards."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.errors import StoreError
from gluscope.dataset.plan import Plan, make_plan
from hypothesis import given, settings
from hypothesis import strategies as st

lengths_of_rows = st.lists(st.integers(1, 1024), min_size=1, max_size=60).map(lambda rows: np.array(rows, np.int64))


@given(lengths_of_rows, st.integers(1, 80))
@settings(max_examples=200, deadline=None)
def test_every_row_is_in_exactly_one_shard_and_shards_are_balanced(lengths: np.ndarray, shards: int) -> None:
    plan = make_plan(lengths, shards, "f")
    assert [shard.name for shard in plan.shards] == [f"{i:04d}" for i in range(shards)]
    assert (plan.shards[0].start, plan.shards[-1].stop) == (0, len(lengths))
    assert all(left.stop == right.start for left, right in pairwise(plan.shards))
    assert all(shard.start <= shard.stop for shard in plan.shards)
    assert [shard.tokens for shard in plan.shards] == [int(lengths[s.start : s.stop].sum()) for s in plan.shards]
    assert all(abs(shard.tokens - lengths.sum() / shards) <= lengths.max() for shard in plan.shards)


@given(lengths_of_rows, st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_cuts_are_the_nearest_edges(lengths: np.ndarray, shards: int) -> None:
    edges = [int(lengths[:i].sum()) for i in range(len(lengths) + 1)]
    for i, shard in enumerate(make_plan(lengths, shards, "f").shards[1:], start=1):
        distance = [abs(edge * shards - i * edges[-1]) for edge in edges]
        assert distance[shard.start] == min(distance)


def test_known_plan() -> None:
    plan = make_plan(np.array([5, 5, 1, 1, 8]), 2, "f")
    assert [(shard.start, shard.stop, shard.tokens) for shard in plan.shards] == [(0, 2, 10), (2, 5, 10)]


def test_many_equal_rows_are_cut_evenly() -> None:
    plan = make_plan(np.full(10_000, 7), 16, "f")
    assert {shard.rows for shard in plan.shards} == {625}


def test_sums_beyond_32_bits() -> None:
    plan = make_plan(np.full(3000, 2**31), 3, "f")
    assert [shard.rows for shard in plan.shards] == [1000, 1000, 1000]


def test_more_shards_than_rows_leaves_some_empty() -> None:
    plan = make_plan(np.array([4, 4]), 5, "f")
    assert sum(shard.rows for shard in plan.shards) == 2
    assert sum(shard.rows == 0 for shard in plan.shards) == 3


def test_plan_is_kept_as_it_is(tmp_path: Path) -> None:
    plan = make_plan(np.arange(1, 50), 4, "fingerprint")
    plan.save(tmp_path / "plan-4.json")
    assert Plan.read(tmp_path / "plan-4.json") == plan
    assert plan.shard("0002") == plan.shards[2]
    with pytest.raises(KeyError):
        plan.shard("0004")


def test_damaged_plan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan-4.json"
    with pytest.raises(StoreError, match="no such file"):
        Plan.read(path)
    make_plan(np.arange(1, 50), 4, "fingerprint").save(path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(StoreError, match=r"plan-4\.json: expected a plan of shards"):
        Plan.read(path)
    path.write_text(json.dumps({"shards": []}))
    with pytest.raises(StoreError):
        Plan.read(path)


def test_no_shards_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one shard"):
        make_plan(np.array([1]), 0, "f")

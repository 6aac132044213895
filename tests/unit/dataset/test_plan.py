"""Laws of the plan of shards."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.errors import ShardMismatch, StoreError
from gluscope.dataset.plan import Plan, make_plan
from hypothesis import given, settings
from hypothesis import strategies as st


class Rows:
    """Rows of one repeated token id each: `ids` by row, the row's own number if not given."""

    def __init__(self, lengths: np.ndarray, ids: list[int] | None = None) -> None:
        self.lengths = lengths
        self.ids = list(range(len(lengths))) if ids is None else ids

    def digest(self, start: int, stop: int) -> str:
        return str([(int(self.lengths[row]), self.ids[row]) for row in range(start, stop)])


lengths_of_rows = st.lists(st.integers(1, 1024), min_size=1, max_size=60).map(lambda rows: np.array(rows, np.int64))


@given(lengths_of_rows, st.integers(1, 80))
@settings(max_examples=200, deadline=None)
def test_every_row_is_in_exactly_one_shard_and_shards_are_balanced(lengths: np.ndarray, shards: int) -> None:
    plan = make_plan(Rows(lengths), shards)
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
    for i, shard in enumerate(make_plan(Rows(lengths), shards).shards[1:], start=1):
        distance = [abs(edge * shards - i * edges[-1]) for edge in edges]
        assert distance[shard.start] == min(distance)


def test_known_plan() -> None:
    plan = make_plan(Rows(np.array([5, 5, 1, 1, 8])), 2)
    assert [(shard.start, shard.stop, shard.tokens) for shard in plan.shards] == [(0, 2, 10), (2, 5, 10)]


def test_many_equal_rows_are_cut_evenly() -> None:
    plan = make_plan(Rows(np.full(10_000, 7)), 16)
    assert {shard.rows for shard in plan.shards} == {625}


def test_sums_beyond_32_bits() -> None:
    plan = make_plan(Rows(np.full(3000, 2**31)), 3)
    assert [shard.rows for shard in plan.shards] == [1000, 1000, 1000]


def test_more_shards_than_rows_leaves_some_empty() -> None:
    plan = make_plan(Rows(np.array([4, 4])), 5)
    assert sum(shard.rows for shard in plan.shards) == 2
    assert sum(shard.rows == 0 for shard in plan.shards) == 3


def test_plan_is_kept_as_it_is(tmp_path: Path) -> None:
    plan = make_plan(Rows(np.arange(1, 50)), 4)
    plan.save(tmp_path / "plan-4.json")
    assert Plan.read(tmp_path / "plan-4.json") == plan
    assert plan.shard("0002") == plan.shards[2]
    with pytest.raises(ShardMismatch, match="expected shard 0004, found 4 others"):
        plan.shard("0004")


def test_damaged_plan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan-4.json"
    with pytest.raises(StoreError, match="no such file"):
        Plan.read(path)
    make_plan(Rows(np.arange(1, 50)), 4).save(path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(StoreError, match=r"plan-4\.json: expected a plan of shards"):
        Plan.read(path)
    path.write_text(json.dumps({"shards": []}))
    with pytest.raises(StoreError, match=r"expected a plan of shards, found other content \(KeyError\)"):
        Plan.read(path)


def test_no_shards_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one shard"):
        make_plan(Rows(np.array([1])), 0)


@given(lengths_of_rows, lengths_of_rows, st.integers(1, 12), st.integers(0, 6))
@settings(max_examples=200, deadline=None)
def test_a_grown_data_set_keeps_its_shards(old: np.ndarray, new: np.ndarray, shards: int, added: int) -> None:
    before = make_plan(Rows(old), shards)
    grown = Rows(np.concatenate([old, new]))
    plan = make_plan(grown, shards + added, before)
    assert plan.base == before.base
    kept = shards if added else shards - 1
    assert plan.shards[:kept] == before.shards[:kept]
    assert all(left.stop == right.start for left, right in pairwise(plan.shards))
    assert (len(plan.shards), plan.shards[-1].stop) == (shards + added, len(grown.lengths))
    fresh = plan.shards[kept:]
    assert sum(shard.tokens for shard in fresh) == new.sum() + (0 if added else before.shards[-1].tokens)
    if added:
        assert all(abs(shard.tokens - new.sum() / added) <= new.max() for shard in fresh)
    assert make_plan(grown, shards + added, plan) == plan
    longer = Rows(np.concatenate([grown.lengths, new]))
    assert make_plan(longer, shards + added, plan).base == plan.base


def test_what_has_not_just_grown_is_cut_anew() -> None:
    lengths = np.array([5, 5, 1, 1, 8, 3, 4])
    before = make_plan(Rows(lengths), 3)
    others = {
        "a row is gone": (Rows(lengths[:-1]), 3),
        "a first row more": (Rows(np.concatenate([[2], lengths])), 3),
        "another token": (Rows(lengths, [0, 1, 2, 3, 9, 5, 6]), 3),
        "another token, and longer": (Rows(np.append(lengths, 4), [0, 1, 2, 3, 9, 5, 6, 7]), 4),
        "fewer shards": (Rows(np.append(lengths, 4)), 2),
        "more shards for the same rows": (Rows(lengths), 4),
    }
    for name, (data, shards) in others.items():
        plan, fresh = make_plan(data, shards, before), make_plan(data, shards)
        assert plan.shards == fresh.shards, name
        assert plan.base not in (before.base, fresh.base), name
        # Back again: what is there now was not scanned in this plan.
        assert make_plan(Rows(lengths), 3, plan).base != before.base, name

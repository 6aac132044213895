"""Batches: every text once, in one order, within the budget."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from gluscope.scan import batches as batches_module
from gluscope.scan.batches import TokenBatch, make_batches, processing_order
from hypothesis import given
from hypothesis import strategies as st

LENGTHS = st.lists(st.integers(1, 40), max_size=60)


@given(lengths=LENGTHS)
def test_order_is_longest_first_then_by_place(lengths: list[int]) -> None:
    expected = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    assert processing_order(np.array(lengths, np.int64)).tolist() == expected


FREE = st.sampled_from([0, 30, 90])


def cut(lengths: np.ndarray, budget: int, padding: float, free: int) -> list[np.ndarray]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches_module, "FREELY", free)
        return make_batches(lengths, budget, padding)


@given(lengths=LENGTHS, budget=st.integers(1, 200), padding=st.sampled_from([0.0, 0.05, 0.5]), free=FREE)
def test_batches_keep_order_budget_and_padding(lengths: list[int], budget: int, padding: float, free: int) -> None:
    given_ = np.array(lengths, np.int64)
    batches = cut(given_, budget, padding, free)
    joined = [int(place) for batch in batches for place in batch]
    assert joined == processing_order(given_).tolist()
    for batch in batches:
        own = given_[batch]
        computed = int(own.max()) * len(batch)
        assert computed <= budget or len(batch) == 1
        assert computed - own.sum() <= padding * computed or (padding and computed <= free)
        if not padding:
            assert len(set(own.tolist())) == 1


@given(lengths=LENGTHS, budget=st.integers(1, 200), padding=st.sampled_from([0.0, 0.2]), free=FREE)
def test_no_batch_could_take_the_next_text_as_well(lengths: list[int], budget: int, padding: float, free: int) -> None:
    given_ = np.array(lengths, np.int64)
    batches = cut(given_, budget, padding, free)
    for batch, following in pairwise(batches):
        own = given_[[*batch, following[0]]]
        computed = int(own[0]) * len(own)
        free_of_it = padding > 0 and computed <= free
        assert computed > budget or (not free_of_it and computed - own.sum() > padding * computed)


@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=9))
def test_halves_are_the_batch_again(lengths: list[int]) -> None:
    own = np.array(sorted(lengths, reverse=True))
    ids = np.zeros((len(own), own[0]), np.int64)
    for i, length in enumerate(own):
        ids[i, :length] = 1 + i
    batch = TokenBatch(np.arange(len(own)) * 3, own, ids)
    halves = batch.halves()
    assert batch.padded == (len(set(lengths)) > 1)
    assert sum(half.tokens for half in halves) == batch.tokens == sum(lengths)
    assert np.concatenate([half.rows for half in halves]).tolist() == batch.rows.tolist()
    shown = [half.input_ids[i, : half.lengths[i]] for half in halves for i in range(len(half.rows))]
    assert [text.tolist() for text in shown] == [[1 + i] * length for i, length in enumerate(own)]
    assert all(half.input_ids.shape[1] == half.lengths.max() for half in halves)

"""Batches: every text once, in one order, within the budget."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from gluscope.scan.batches import TokenBatch, make_batches, processing_order
from hypothesis import given
from hypothesis import strategies as st

LENGTHS = st.lists(st.integers(1, 40), max_size=60)


@given(lengths=LENGTHS)
def test_order_is_longest_first_then_by_place(lengths: list[int]) -> None:
    expected = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    assert processing_order(np.array(lengths, np.int64)).tolist() == expected


@given(lengths=LENGTHS, budget=st.integers(1, 200), padding=st.sampled_from([0.0, 0.05, 0.5]))
def test_batches_keep_order_budget_and_padding(lengths: list[int], budget: int, padding: float) -> None:
    given_ = np.array(lengths, np.int64)
    batches = make_batches(given_, budget, padding)
    joined = [int(place) for batch in batches for place in batch]
    assert joined == processing_order(given_).tolist()
    for batch in batches:
        own = given_[batch]
        computed = int(own.max()) * len(batch)
        assert computed <= budget or len(batch) == 1
        assert computed - own.sum() <= padding * computed
        if not padding:
            assert len(set(own.tolist())) == 1


@given(lengths=LENGTHS, budget=st.integers(1, 200), padding=st.sampled_from([0.0, 0.2]))
def test_no_batch_could_take_the_next_text_as_well(lengths: list[int], budget: int, padding: float) -> None:
    given_ = np.array(lengths, np.int64)
    batches = make_batches(given_, budget, padding)
    for batch, following in pairwise(batches):
        own = given_[[*batch, following[0]]]
        computed = int(own[0]) * len(own)
        assert computed > budget or computed - own.sum() > padding * computed


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

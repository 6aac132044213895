"""Running lists of extremes against a full sort, whatever the blocks and their order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gluscope.weights.top import Rank, TopScores

KEYS = {Rank.HIGHEST: lambda s: s, Rank.LOWEST: lambda s: -s, Rank.LARGEST: np.abs}


def by_sorting(scores: np.ndarray, places: int, rank: Rank) -> tuple[np.ndarray, np.ndarray]:
    key = KEYS[rank](scores)
    order = np.stack([np.lexsort((np.arange(len(row)), -row)) for row in key])[:, :places]
    return order, np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("rank", list(Rank))
@pytest.mark.parametrize("transposed", [False, True])
def test_equals_a_full_sort_in_any_blocks_and_order(rank: Rank, transposed: bool) -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(-9, 9, (150, 90)).astype(np.float32)  # many ties
    ids, values = by_sorting(scores, 7, rank)
    for _ in range(4):
        lists = TopScores(150, 7, rank)
        edges = ([0, *np.unique(rng.integers(1, n, 4)), n] for n in scores.shape)
        blocks = itertools.product(*(itertools.pairwise(cuts) for cuts in edges))
        for (top, bottom), (left, right) in rng.permutation(np.array(list(blocks))):
            part = scores[top:bottom, left:right]
            if transposed:
                lists.add_transposed(np.ascontiguousarray(part.T), top, left)
            else:
                lists.add(np.ascontiguousarray(part), top, left)
        np.testing.assert_array_equal(lists.ids, ids)
        np.testing.assert_array_equal(lists.scores, values)


def test_fewer_scores_than_places_and_nan() -> None:
    lists = TopScores(1, 3, Rank.HIGHEST)
    lists.add(np.array([[np.nan, -np.inf, 2.0]], np.float32), 0, 5)
    assert lists.ids.tolist() == [[7, 6, -1]]
    np.testing.assert_array_equal(lists.scores, [[2.0, -np.inf, np.nan]])

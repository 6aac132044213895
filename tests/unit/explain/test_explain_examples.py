"""Which windows a case has: every promise of the groups by brute force over tokens; conventions; texts that repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gluscope.core.activation import act
from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.explain.examples import GROUPS, WEAK, CaseExamples, Split, Window, examples_of
from gluscope.recompute.types import Recomputed
from gluscope.summary.types import LayerSummary

SKIPPED, K, VOCAB = 0, 9, 23
SPLIT = Split(train=4, test=3, others=5, before=6, after=2)


class Made:
    """Random values at random texts, and the lists that a scan would have made of them."""

    def __init__(self, seed: int, texts: int = 40, expert: bool = False) -> None:
        random = np.random.default_rng(seed)
        self.ids = {row: random.integers(1, VOCAB, random.integers(1, 50)) for row in range(3, 3 + 2 * texts, 2)}
        for ids in self.ids.values():
            ids[0] = SKIPPED
        rows = np.array(sorted(self.ids))
        lengths = np.array([len(self.ids[row]) for row in rows])
        gate, in_ = random.standard_t(2, (2, lengths.sum())).astype(np.float32)
        gate[random.random(len(gate)) < 0.1] = 0
        if expert:
            gate[random.random(len(gate)) < 0.4] = np.nan
            in_[np.isnan(gate)] = np.nan
        self.found = Recomputed(1, 2, rows, lengths, gate, in_, "model", "float32", 1.0, 1.0, "E3" if expert else "")
        starts = np.cumsum(lengths) - lengths
        self.parts = {int(row): slice(int(a), int(a + n)) for row, a, n in zip(rows, starts, lengths, strict=True)}
        self.summary = self._lists()

    def post(self, row: int, case: SignCase) -> np.ndarray:
        """Of a text's tokens, 0 outside the case."""
        gate, in_ = (np.nan_to_num(values[self.parts[row]]) for values in (self.found.gate, self.found.in_))
        inside = (np.sign(gate) == case.gate_sign) & (np.sign(in_) == case.in_sign) & (self.ids[row] != SKIPPED)
        return np.where(inside, act("silu")(gate) * in_, np.float32(0))

    def _lists(self) -> LayerSummary:
        summary = LayerSummary.empty(1, K)
        for case in CASES:
            posts = {row: self.post(row, case) for row in self.ids}
            best = sorted((-float(np.abs(post).max()), row) for row, post in posts.items() if post.any())[:K]
            at = (0, case.index, Quantity.POST.index)
            for place, (_, row) in enumerate(best):
                position = int(np.argmax(np.abs(posts[row])))
                summary.extreme_example[at][place], summary.extreme_position[at][place] = row, position
                summary.extreme_value[at][place] = posts[row][position]
        return summary

    def examples(self, split: Split = SPLIT) -> dict[SignCase, CaseExamples]:
        return examples_of(self.summary, self.found, self.ids.__getitem__, act("silu"), split, [SKIPPED])


def same(one: Window, other: Window) -> bool:
    return (one.row, one.begin, one.at) == (other.row, other.begin, other.at)


@pytest.mark.parametrize("expert", [False, True], ids=["dense", "expert"])
@pytest.mark.parametrize("seed", range(4))
def test_every_window_keeps_what_its_group_promises(seed: int, expert: bool) -> None:
    made = Made(seed, expert=expert)
    filled = set()
    for case, found in made.examples().items():
        at = (0, case.index, Quantity.POST.index)
        listed = list(zip(made.summary.extreme_example[at], made.summary.extreme_position[at], strict=True))
        assert found.level == pytest.approx(abs(made.summary.extreme_value[at][-1]))
        tokens_listed = {int(made.ids[row][position]) for row, position in listed}
        taken: set[tuple[int, int]] = set()
        for group, windows in found.groups.items():
            filled |= {group} if windows else set()
            assert len(windows) <= getattr(SPLIT, group, SPLIT.others)
            for window in windows:
                post = made.post(window.row, case)
                part = slice(window.begin, window.begin + len(window.ids))
                assert (window.ids == made.ids[window.row][part]).all()
                assert (window.post == post[part]).all()
                assert window.begin == max(0, window.position - 6)
                assert part.stop == min(len(post), window.position + 3)
                own = {(window.row, place) for place in range(part.start, part.stop)}
                assert not own & taken
                taken |= own
                here = abs(float(post[window.position]))
                if group in ("train", "test"):
                    assert (window.row, window.position) in listed
                if group == "just_under":
                    assert 0 < here <= window.peak < found.level
                if group in ("other_case", "inactive"):
                    assert window.peak < WEAK * found.level
                if group == "other_case":
                    assert here == 0
                    assert int(window.ids[window.at]) in tokens_listed
                    assert any(made.post(window.row, other)[window.position] for other in CASES if other is not case)
        texts = [window.ids.tobytes() for windows in found.groups.values() for window in windows]
        assert len(texts) == len(set(texts))
    assert filled == set(GROUPS)


def test_train_and_test_take_turns_and_the_nearest_below_come_first() -> None:
    for found in Made(1).examples().values():
        assert [len(found.train), len(found.test)] == [4, 3]
        peaks = [abs(window.post[window.at]) for window in found.train + found.test]
        assert peaks[:4] == sorted(peaks[:4], reverse=True)
        assert peaks[4:] == sorted(peaks[4:], reverse=True)
        assert peaks[0] > peaks[4] > peaks[3]
        under = [abs(window.post[window.at]) for window in found.just_under]
        assert under == sorted(under, reverse=True)


def test_the_other_convention_has_the_same_windows_in_the_swapped_cases() -> None:
    made = Made(2)
    flip = np.array([True])
    turned = examples_of(
        made.summary.turned(flip), made.found.turned(flip), made.ids.__getitem__, act("silu"), SPLIT, [SKIPPED]
    )
    for case, found in made.examples().items():
        other = turned[case.flipped]
        for group in ("train", "test", "just_under"):
            pairs = list(zip(found.groups[group], other.groups[group], strict=True))
            assert pairs
            assert all(same(*pair) and (pair[0].post == -pair[1].post).all() for pair in pairs)


def test_a_text_that_repeats_is_taken_once() -> None:
    made = Made(3)
    case = CASES[0]
    first, second = made.summary.extreme_example[0, 0, Quantity.POST.index, :2].tolist()
    made.ids[second] = made.ids[first].copy()
    lengths = np.array([len(made.ids[row]) for row in sorted(made.ids)])
    parts = [made.parts[first if row == second else row] for row in sorted(made.ids)]
    values = {name: np.concatenate([getattr(made.found, name)[part] for part in parts]) for name in ("gate", "in_")}
    made.found = replace(made.found, lengths=lengths, **values)
    position = made.summary.extreme_position[0, 0, Quantity.POST.index]
    position[1] = position[0]
    found = examples_of(made.summary, made.found, made.ids.__getitem__, act("silu"), SPLIT, [SKIPPED])[case]
    rows = [window.row for window in found.train + found.test]
    assert first in rows
    assert second not in rows


def test_a_case_without_tokens_has_nothing_and_a_single_text_is_explained_not_judged() -> None:
    made = Made(4)
    made.summary.extreme_example[0, 1], made.summary.extreme_position[0, 1] = -1, -1
    made.summary.extreme_example[0, 2, :, 1:], made.summary.extreme_position[0, 2, :, 1:] = -1, -1
    found = made.examples()
    assert not any(found[CASES[1]].groups.values())
    assert [len(found[CASES[2]].train), len(found[CASES[2]].test)] == [1, 0]


def test_a_listed_token_that_rounding_put_out_of_its_case_is_left_out() -> None:
    made = Made(5)
    row, position = (int(name[0, 0, Quantity.POST.index, 0]) for name in
                     (made.summary.extreme_example, made.summary.extreme_position))  # fmt: skip
    made.found.gate[made.parts[row].start + position] = -1e-7
    found = made.examples()[CASES[0]]
    assert (row, position) not in {(window.row, window.position) for window in found.train + found.test}
    assert len(found.train + found.test) == 7

"""Which texts a sign case is explained from, and which its words are judged by. Imports numpy alone, calls nobody.

All texts are windows of those that the neuron's lists show: there its values are known at every token, so that what is
said of a window is certain. A window belongs to one group only, and no two windows of a case have the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, fields

import numpy as np

from gluscope.core.activation import Activation
from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.recompute.types import Recomputed
from gluscope.summary.types import LayerSummary

WEAK = 0.5  # of the weakest |post| listed: a window that stays below this does not count as one of the case


@dataclass(frozen=True)
class Split:
    """How many windows of each group a case has at most, and how long they are.

    train, test: of the case's list by post. others: of each of the other groups. before, after: tokens around the one
    that a window is about, as far as the text has them. seed: of what is drawn at random.
    """

    train: int = 8
    test: int = 8
    others: int = 8
    before: int = 24
    after: int = 7
    seed: int = 0


@dataclass(frozen=True)
class Window:
    """A stretch of a text. row: in the token data set; begin: its first token's position there.

    at: the token that it is about, counted from `begin`. ids: int32 [token]. post: float32 [token], signed activation
    units where the token is in the case, 0 elsewhere.
    """

    row: int
    begin: int
    at: int
    ids: np.ndarray
    post: np.ndarray

    @property
    def position(self) -> int:
        """Of the token that it is about, in its text."""
        return self.begin + self.at

    @property
    def peak(self) -> float:
        """The largest |post| of the case in it; 0 where no token is in the case."""
        return float(np.abs(self.post).max(initial=0))


@dataclass(frozen=True)
class CaseExamples:
    """The windows of one case by group.

    level: the weakest |post| in the case's list by post; 0 where that is empty. train, test: about the list's places,
    in turn, strongest first; to explain from, and to judge by. just_under: about the strongest tokens of the case
    below `level`, strongest first; no token of theirs reaches it. other_case: about a token that has the id of one of
    the list's, here in another case. inactive: about tokens drawn at random. In the last two no token of the case
    reaches `WEAK` times `level`.
    """

    case: SignCase
    level: float = 0.0
    train: tuple[Window, ...] = ()
    test: tuple[Window, ...] = ()
    just_under: tuple[Window, ...] = ()
    other_case: tuple[Window, ...] = ()
    inactive: tuple[Window, ...] = ()

    @property
    def groups(self) -> dict[str, tuple[Window, ...]]:
        """The windows by the names above."""
        return {name: getattr(self, name) for name in GROUPS}


GROUPS = tuple(one.name for one in fields(CaseExamples) if one.name not in ("case", "level"))


def examples_of(
    neuron: LayerSummary,
    found: Recomputed,
    ids_of: Callable[[int], np.ndarray],
    act: Activation,
    split: Split | None = None,
    skipped: Collection[int] = (),
) -> dict[SignCase, CaseExamples]:
    """The examples of each case; those of a case without tokens are empty.

    neuron: 1 neuron, its positions known (`with_positions`). found: its values at all its lists' texts, in the same
    convention. ids_of: int [token] of a row. skipped: ids that the run skips; they are in no case.
    """
    texts = _Texts.of(found, ids_of, act, skipped)
    chosen = split or Split()
    return {case: _of_case(neuron, case, texts, chosen, (*_numbers(found), case.index)) for case in CASES}


@dataclass(frozen=True)
class _Texts:
    """All texts one after another. row: int64 [text]; begin: int64 [text + 1]; ids: int32 [token]; skipped: bool
    [token]. gate_sign, in_sign, post: [token], 0 where a token is skipped or does not reach the neuron's expert."""

    row: np.ndarray
    begin: np.ndarray
    ids: np.ndarray
    skipped: np.ndarray
    gate_sign: np.ndarray
    in_sign: np.ndarray
    post: np.ndarray

    @classmethod
    def of(
        cls, found: Recomputed, ids_of: Callable[[int], np.ndarray], act: Activation, skipped: Collection[int]
    ) -> _Texts:
        none = np.zeros(0, np.int32)
        ids = np.concatenate([none, *(np.asarray(ids_of(row), np.int32) for row in found.rows.tolist())])
        left_out = np.isin(ids, list(skipped))
        counts = ~left_out & ~np.isnan(found.gate)
        gate, in_ = np.where(counts, found.gate, 0), np.where(counts, found.in_, 0)
        post = act(gate) * in_.astype(np.float32)
        begin = np.concatenate([[0], np.cumsum(found.lengths)]).astype(np.int64)
        return cls(found.rows, begin, ids, left_out, np.sign(gate), np.sign(in_), post)

    def place(self, row: int, position: int) -> int:
        """Where a token of a text stands among all."""
        return int(self.begin[np.searchsorted(self.row, row)]) + position


@dataclass
class _Drawn:
    """Windows of one case so far: `taken` are all their tokens, `known` their ids."""

    texts: _Texts
    post: np.ndarray  # float32 [token], 0 outside the case
    split: Split
    taken: np.ndarray
    known: set[bytes] = field(default_factory=set)

    def add(self, places: Iterable[int], most: int, below: float = np.inf) -> tuple[Window, ...]:
        """Windows about these tokens, at most so many; without those that touch another one, that have another one's
        tokens, or that have a token of the case with |post| of at least `below`."""
        windows: list[Window] = []
        for place in places:
            if len(windows) == most:
                break
            window, part = self._window(int(place))
            if self.taken[part].any() or window.peak >= below or (ids := window.ids.tobytes()) in self.known:
                continue
            self.taken[part] = True
            self.known.add(ids)
            windows.append(window)
        return tuple(windows)

    def _window(self, place: int) -> tuple[Window, slice]:
        text = int(np.searchsorted(self.texts.begin, place, "right")) - 1
        first, last = int(self.texts.begin[text]), int(self.texts.begin[text + 1])
        part = slice(max(first, place - self.split.before), min(last, place + self.split.after + 1))
        row, ids = int(self.texts.row[text]), self.texts.ids[part]
        return Window(row, part.start - first, place - part.start, ids, self.post[part]), part


def _of_case(neuron: LayerSummary, case: SignCase, texts: _Texts, split: Split, seed: tuple[int, ...]) -> CaseExamples:
    at = (0, case.index, Quantity.POST.index)
    listed = [
        texts.place(row, position)
        for row, position in zip(neuron.extreme_example[at].tolist(), neuron.extreme_position[at].tolist(), strict=True)
        if row >= 0 and position >= 0
    ]
    inside = (texts.gate_sign == case.gate_sign) & (texts.in_sign == case.in_sign)
    listed = [place for place in listed if inside[place]]  # rounding can put a token on the other side of 0
    if not listed:
        return CaseExamples(case)
    post = np.where(inside, texts.post, np.float32(0))
    size = np.abs(post)
    level, random = float(size[listed].min()), np.random.default_rng((split.seed, *seed))
    drawn = _Drawn(texts, post, split, np.zeros(len(post), bool))
    strong = drawn.add(listed, split.train + split.test)
    train, test = _in_turn(strong, split)
    under = np.flatnonzero((size < level) & (size > 0))
    same = np.flatnonzero(np.isin(texts.ids, texts.ids[listed]) & ~inside & (texts.post != 0))
    weak = WEAK * level
    return CaseExamples(
        case,
        level,
        train,
        test,
        just_under=drawn.add(under[np.argsort(-size[under], kind="stable")], split.others, below=level),
        other_case=drawn.add(random.permutation(same), split.others, below=weak),
        inactive=drawn.add(random.permutation(np.flatnonzero(~texts.skipped)), split.others, below=weak),
    )


def _in_turn(strong: tuple[Window, ...], split: Split) -> tuple[tuple[Window, ...], tuple[Window, ...]]:
    """Train and test, both from the strongest to the weakest; train's share of them is that of `split`."""
    share = -(-len(strong) * split.train // (split.train + split.test))
    first = {i * len(strong) // share for i in range(share)}
    parts = [tuple(one for i, one in enumerate(strong) if (i in first) == is_train) for is_train in (True, False)]
    return parts[0], parts[1]


def _numbers(found: Recomputed) -> tuple[int, ...]:
    """The neuron's name as numbers, for seeds."""
    return (found.layer, found.neuron, *found.expert.encode())

"""Questions that judge an explanation, with the truth known, and the scores that follow from the answers.

Detection: does a text contain what the words say? Fuzzing: is the marked token of a text what they say? (After Paulo et
al. 2024, arXiv 2410.13928.) A score is a balanced accuracy: the mean of the shares of right answers where yes is true
and where no is; 0.5 by chance, whoever answers yes how often.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluscope.explain.examples import WEAK, CaseExamples, Window

Shown = Callable[[np.ndarray], list[str]]  # token ids of a window, and the text of each token
DETECTED = ("test", "just_under", "other_case", "inactive")
MARKED = ("right", "wrong")
PER_REQUEST = 8  # texts that one request is about


@dataclass(frozen=True)
class Item:
    """A text to be judged. kind: a group of `DETECTED`, or one of `MARKED`. text: as the prompt shows it."""

    kind: str
    text: dict[str, Any]


@dataclass(frozen=True)
class Tally:
    """Texts of one kind. judged: how many got an answer; yes: how many of these a yes."""

    judged: int = 0
    yes: int = 0


def to_explain(found: CaseExamples, shown: Shown) -> list[dict[str, Any]]:
    """The texts to explain a case from. Strengths are from 1 to 10 of the strongest."""
    largest = max((window.peak for window in found.train), default=0.0)
    texts = []
    for window in found.train:
        tokens = shown(window.ids)
        strength = np.ceil(10 * np.abs(window.post) / largest).astype(int).tolist()
        strong = [at for at in range(len(tokens)) if abs(window.post[at]) >= WEAK * largest and at != window.at]
        also = {"also": [[tokens[at], strength[at]] for at in strong]} if strong else {}
        texts.append(_marked(tokens, window.at) | {"strength": strength[window.at]} | also)
    return texts


def detection(found: CaseExamples, shown: Shown, seed: int) -> list[list[Item]]:
    """The texts of all groups but `train`, mixed, by request."""
    items = [Item(kind, {"text": "".join(shown(window.ids))}) for kind in DETECTED for window in found.groups[kind]]
    order = np.random.default_rng((seed, len(items))).permutation(len(items))
    return _requests([items[at] for at in order])


def fuzzing(found: CaseExamples, shown: Shown, seed: int) -> list[list[Item]]:
    """Each text of `test` twice, by request: its token marked, and another one of its tokens, which is weak or in
    another case. No request has a text twice."""
    random = np.random.default_rng((seed, len(found.test)))
    marks: dict[str, list[Item | None]] = {kind: [] for kind in MARKED}
    for window in found.test:
        tokens, wrong = shown(window.ids), _other_token(window, found.level, random)
        marks["right"].append(Item("right", _marked(tokens, window.at)))
        marks["wrong"].append(None if wrong is None else Item("wrong", _marked(tokens, wrong)))
    halves = [[marks[MARKED[(at + half) % 2]][at] for at in range(len(found.test))] for half in range(2)]
    return [request for half in halves for request in _requests([item for item in half if item])]


def with_ids(items: Sequence[Item]) -> list[dict[str, Any]]:
    """The texts of a request, each with the id that its verdict goes by."""
    return [{"id": str(number), **item.text} for number, item in enumerate(items, 1)]


def accuracy(true: Tally, false: Tally) -> float | None:
    """Balanced accuracy; None where one side has no text that was judged."""
    if not true.judged or not false.judged:
        return None
    return (true.yes / true.judged + 1 - false.yes / false.judged) / 2


def chance_spread(true: Tally, false: Tally) -> float | None:
    """Standard deviation of the balanced accuracy of a judge who throws a coin for each text."""
    return math.sqrt(1 / true.judged + 1 / false.judged) / 4 if true.judged and false.judged else None


def _other_token(window: Window, level: float, random: np.random.Generator) -> int | None:
    """A token of the window that is not what the case is about; None where there is none."""
    weak = (np.abs(window.post) < WEAK * level) & (window.ids != window.ids[window.at])
    places = np.flatnonzero(weak)
    return int(random.choice(places)) if len(places) else None


def _marked(tokens: list[str], at: int) -> dict[str, Any]:
    return {"before": "".join(tokens[:at]), "token": tokens[at], "after": "".join(tokens[at + 1 :])}


def _requests(items: list[Item]) -> list[list[Item]]:
    """About equally long, none longer than `PER_REQUEST`."""
    count = -(-len(items) // PER_REQUEST)
    return [items[len(items) * i // count : len(items) * (i + 1) // count] for i in range(count)]

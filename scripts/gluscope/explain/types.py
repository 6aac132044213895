"""What was said of a neuron's sign cases, with scores, and its file. Pages read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.cases import CASES, SignCase
from gluscope.core.errors import WrongFile
from gluscope.core.neuron import NeuronId
from gluscope.explain.score import DETECTED, MARKED, Tally, accuracy, chance_spread
from gluscope.store.atomic import new_file
from gluscope.store.damage import to_redo
from gluscope.store.sealed import read_sealed, sealed

KIND = "an explanation of a neuron"
SCORES = {"detection": ("test", "inactive"), "near misses": ("test", "other_case"), "fuzzing": MARKED}


@dataclass(frozen=True)
class Score:
    """value: balanced accuracy, 0.5 by chance. true, false: texts judged where yes, and where no, was right.

    chance: standard deviation of the value of a judge who throws a coin.
    """

    value: float
    true: int
    false: int
    chance: float


@dataclass(frozen=True)
class CaseWords:
    """One sign case. words: empty where no answer could be used. texts: from how many they come.

    said: by kind of text (`score.DETECTED` and `MARKED`), how many were judged and how many of these got a yes.
    unanswered: texts to which no answer could be used; they count for nothing.
    """

    words: str
    texts: int
    said: Mapping[str, Tally] = field(default_factory=dict)
    unanswered: int = 0

    @property
    def scores(self) -> dict[str, Score]:
        """By the names of `SCORES`; those without texts on both sides are left out."""
        found = {}
        for name, sides in SCORES.items():
            true, false = (self.said.get(kind, Tally()) for kind in sides)
            value, chance = accuracy(true, false), chance_spread(true, false)
            if value is not None and chance is not None:
                found[name] = Score(value, true.judged, false.judged, chance)
        return found


@dataclass(frozen=True)
class Explanation:
    """What a language model said of a neuron's cases, those of the raw convention.

    model: its name. prompts: the version of each. requests, tokens: of all answers that went into it, paid at whatever
    time; tokens of prompts and answers.
    """

    id: NeuronId
    model: str
    prompts: Mapping[str, str]
    cases: Mapping[SignCase, CaseWords]
    requests: int
    tokens: int

    def turned(self, flip: np.ndarray) -> Explanation:
        """With w_in and w_out negated; see `core.convention`."""
        return Explanation(
            self.id, self.model, self.prompts, {case: self.cases[case.flipped] for case in CASES},
            self.requests, self.tokens,
        )  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Write it as JSON with a checksum, whole or not at all."""
        cases = {case.value: {**asdict(words), "said": {kind: asdict(tally) for kind, tally in words.said.items()}}
                 for case, words in self.cases.items()}  # fmt: skip
        content = {
            **asdict(self.id), "model": self.model, "prompts": dict(self.prompts), "cases": cases,
            "requests": self.requests, "tokens": self.tokens,
        }  # fmt: skip
        with new_file(path) as part:
            part.write_text(sealed(KIND, content), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path, neuron: NeuronId | None = None) -> Explanation:
        """Raises StoreError for a file that is missing, damaged or something else, also another neuron's."""
        found = read_sealed(path, KIND, _parsed)
        if neuron not in (None, found.id):
            raise to_redo(WrongFile, Path(path), str(path), f"the explanation of {neuron}", f"that of {found.id}")
        return found


def _parsed(content: dict[str, Any]) -> Explanation:
    named = NeuronId(content.pop("layer"), content.pop("neuron"), content.pop("expert"))
    cases = {SignCase(name): _words(**words) for name, words in content.pop("cases").items()}
    if set(cases) != set(CASES):
        raise ValueError("not all cases")
    return Explanation(id=named, cases=cases, **content)


def _words(words: str, texts: int, said: dict[str, dict[str, int]], unanswered: int) -> CaseWords:
    if not set(said) <= {*DETECTED, *MARKED}:
        raise ValueError("unknown kinds of texts")
    return CaseWords(words, texts, {kind: Tally(**tally) for kind, tally in said.items()}, unanswered)

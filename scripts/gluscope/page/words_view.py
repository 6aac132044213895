"""What a page shows of what a language model said of its neuron."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gluscope.core.cases import CASES
from gluscope.explain.score import Tally
from gluscope.explain.types import CaseWords, Explanation


def words_as_json(explanation: Explanation) -> dict[str, Any]:
    """Words and scores by case, and who said them."""
    return {
        "model": explanation.model,
        "prompts": dict(explanation.prompts),
        "cases": {case.value: _case(explanation.cases[case]) for case in CASES},
    }


def words_of_cases(explanation: Explanation) -> list[str]:
    """The words of the cases that have any, those that judge best first; each once."""
    found = [words for words in explanation.cases.values() if words.words]

    def detection(words: CaseWords) -> float:
        score = words.scores.get("detection")
        return -score.value if score else 0.0

    return list(dict.fromkeys(words.words for words in sorted(found, key=detection)))


def _case(words: CaseWords) -> dict[str, Any]:
    under = words.said.get("just_under", Tally())
    return {
        "words": words.words,
        "texts": words.texts,
        "scores": {name: asdict(score) for name, score in words.scores.items()},
        "just_under": [under.judged, under.yes],
        "unanswered": words.unanswered,
    }

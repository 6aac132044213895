"""The scorer judged against labels whose truth is known: neurons with a planted meaning, a judge that goes by keyword.

Everything goes through the protocol, over HTTP.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.cases import CASES, SignCase
from gluscope.core.errors import StoreError
from gluscope.core.neuron import NeuronId
from gluscope.explain.examples import CaseExamples
from gluscope.explain.prompts import read_prompts
from gluscope.explain.questions import Questions
from gluscope.explain.score import Tally, accuracy, chance_spread, detection, fuzzing
from gluscope.explain.types import CaseWords, Explanation
from helpers.planted_words import BROAD, NEURON, RIGHT, planted, shown
from helpers.talker import Question, asker_of, judged, says, talking, verdicts

NAMES = ("detection", "near misses", "fuzzing")
OTHERS = {case: RIGHT[other] for case, other in zip(CASES, [*CASES[1:], CASES[0]], strict=True)}


def case_of(examples: dict[SignCase, CaseExamples], question: Question) -> SignCase:
    """Which case a request to explain is about."""
    first = question.texts[0]["token"]
    return next(case for case, found in examples.items() if shown(found.train[0].ids)[found.train[0].at] == first)


def explained(folder: Path, words: dict[SignCase, str], seed: int = 1, judge: Any = judged) -> Explanation:
    examples = planted(seed)

    def script(body: dict[str, Any], _: int) -> str:
        question = Question.of(body)
        return says(words[case_of(examples, question)]) if question.kind == "explain" else judge(question)

    with talking(script) as talker, ThreadPoolExecutor(4) as pool:
        questions = Questions(asker_of(folder, talker.address)[0], read_prompts(None), shown)
        return questions.explain({NEURON: examples}, pool)[NEURON]


def scores(found: Explanation) -> dict[str, list[float]]:
    return {name: [words.scores[name].value for words in found.cases.values()] for name in NAMES}


def test_the_right_words_score_1_everywhere(tmp_path: Path) -> None:
    found = explained(tmp_path, RIGHT)
    assert scores(found) == dict.fromkeys(NAMES, [1.0] * 4)
    for words in found.cases.values():
        assert {name: (score.true, score.false) for name, score in words.scores.items()} == dict.fromkeys(NAMES, (8, 8))
        assert words.scores["detection"].chance == 0.125
        assert words.unanswered == 0
        assert words.said["just_under"] == Tally(8, 8)
    assert found.requests == 4 * 7
    assert found.tokens == 4 * 7 * 110


def test_too_broad_words_are_found_out_by_near_misses_alone(tmp_path: Path) -> None:
    """The word alone is said, without what has to stand before it: every near miss has it as well."""
    found = scores(explained(tmp_path, {case: words.strip() for case, words in BROAD.items()}))
    assert min(found["detection"]) >= 0.75  # a text drawn at random can have the word
    assert found["near misses"] == [0.5] * 4
    assert found["fuzzing"] == [1.0] * 4


def test_words_of_another_case_and_words_of_nothing_are_at_chance(tmp_path: Path) -> None:
    for name, words in {"others": OTHERS, "nothing": dict.fromkeys(CASES, "zebra")}.items():
        found = scores(explained(tmp_path / name, words))
        assert all(abs(value - 0.5) <= 0.13 for kind in NAMES[:2] for value in found[kind]), found
        assert found["fuzzing"] == [0.5] * 4


def test_a_judge_who_throws_coins_is_at_chance_with_the_spread_that_is_told(tmp_path: Path) -> None:
    coin = random.Random(3)

    values = []
    for seed in range(12):
        judge = partial(verdicts, said=partial(coin.choice, ["yes", "no"]))
        found = scores(explained(tmp_path / str(seed), RIGHT, seed, judge))
        values += [value for part in found.values() for value in part]
    spread = 0.125
    assert abs(np.mean(values) - 0.5) < 4 * spread / np.sqrt(len(values))
    assert 0.8 * spread < np.std(values) < 1.2 * spread


def test_who_always_says_yes_or_no_is_at_chance(tmp_path: Path) -> None:
    for said in ("yes", "no"):
        judge = partial(verdicts, said=partial(str, said))
        assert scores(explained(tmp_path / said, RIGHT, judge=judge)) == dict.fromkeys(NAMES, [0.5] * 4)


def test_the_words_are_made_from_train_texts_and_judged_by_others() -> None:
    for found in planted(2).values():
        train = {"".join(shown(window.ids)) for window in found.train}
        items = [item for request in detection(found, shown, 0) for item in request]
        assert len(items) == 32
        assert {item.kind for item in items} == {"test", "just_under", "other_case", "inactive"}
        assert not train & {item.text["text"] for item in items}
        marked = fuzzing(found, shown, 0)
        assert [len(request) for request in marked] == [8, 8]
        for request in marked:
            texts = [item.text["before"] + item.text["token"] + item.text["after"] for item in request]
            assert len(set(texts)) == 8
            assert not train & set(texts)
            assert {item.kind for item in request} == {"right", "wrong"}


def test_accuracy_is_that_of_the_two_sides_and_none_without_one() -> None:
    assert accuracy(Tally(4, 3), Tally(10, 1)) == pytest.approx((0.75 + 0.9) / 2)
    assert accuracy(Tally(), Tally(3, 1)) is None
    assert accuracy(Tally(3, 1), Tally()) is None
    draws = np.random.default_rng(0)
    yes, no = draws.binomial(5, 0.5, 200_000), draws.binomial(9, 0.5, 200_000)
    assert np.std((yes / 5 + 1 - no / 9) / 2) == pytest.approx(chance_spread(Tally(5, 1), Tally(9, 1)), rel=0.01)


def test_the_file_gives_back_what_was_written_and_refuses_what_is_not_it(tmp_path: Path) -> None:
    cases = {
        case: CaseWords(f"a \udc80 {case.value}", 3, {"test": Tally(3, 2), "inactive": Tally(2, 0)}, 1)
        for case in CASES
    }
    written, path = Explanation(NeuronId(1, 2, "E3"), "m", {"explain": "ab"}, cases, 7, 900), tmp_path / "N2.json"
    written.save(path)
    found = Explanation.read(path, NeuronId(1, 2, "E3"))
    assert found == written
    flip = np.array(True)
    assert found.turned(flip).cases[CASES[0]] == cases[CASES[1]]
    assert found.turned(flip).turned(flip) == written
    with pytest.raises(StoreError, match="explanation of L1/N2"):
        Explanation.read(path, NeuronId(1, 2))
    path.write_text(path.read_text().replace('"yes": 2', '"yes": 3'))
    with pytest.raises(StoreError, match="checksum"):
        Explanation.read(path)

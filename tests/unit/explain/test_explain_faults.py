"""Servers that are busy, silent, broken or wrong, and runs that were interrupted: asked again, never paid twice, and no
label that nobody gave."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from gluscope.explain.answers import verdicts_of, words_of
from gluscope.explain.asker import Budget, OverBudget
from gluscope.explain.client import ServerError, retry_after
from gluscope.explain.kept import Answer, Kept, alone
from gluscope.explain.prompts import Message, read_prompts
from gluscope.explain.questions import Questions
from gluscope.explain.types import Explanation
from helpers.planted_words import NEURON, RIGHT, planted, shown
from helpers.talker import Question, Reply, asker_of, judged, says, talking

ASKED: list[Message] = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]


def right(body: dict[str, Any], _: int) -> str:
    question = Question.of(body)
    if question.kind != "explain":
        return judged(question)
    word = question.texts[0]["token"]
    return says(next(words for words in RIGHT.values() if words.endswith(word)))


def explained(folder: Path, address: str, **more: Any) -> Explanation:
    asker, _ = asker_of(folder, address, **more)
    with ThreadPoolExecutor(3) as pool:
        return Questions(asker, read_prompts(None), shown).explain({NEURON: planted(1)}, pool)[NEURON]


@pytest.mark.parametrize(
    ("reply", "waits"),
    [
        (Reply(status=429, headers={"Retry-After": "7"}, text='{"error": {"message": "slow down"}}'), [7.0]),
        (Reply(status=503, text="<html>busy</html>"), [1.0]),
        (Reply(status=500, text=""), [1.0]),
        (Reply(text="{"), [1.0]),  # cut short on the way
        (Reply(text='{"choices": []}'), [1.0]),
        (Reply(text="[1]"), [1.0]),
    ],
)
def test_what_passes_is_waited_for(tmp_path: Path, reply: Reply, waits: list[float]) -> None:
    with talking(lambda _, n: says("a word") if n else reply) as talker:
        asker, waited = asker_of(tmp_path, talker.address)
        words, answers = asker.ask(ASKED, words_of)
        assert (words, len(answers), len(talker.bodies)) == ("a word", 1, 2)
        assert [round(seconds) for seconds in waited if seconds > 0.5][: len(waits)] == waits
        assert asker.kept.requests == 1
        asker.ask(ASKED, words_of)
        assert len(talker.bodies) == 2


def test_a_timeout_is_asked_again(tmp_path: Path) -> None:
    with talking(lambda _, n: says("late") if n else Reply(says("never"), after=5.0)) as talker:
        asker, _ = asker_of(tmp_path, talker.address, timeout=0.3)
        assert asker.ask(ASKED, words_of)[0] == "late"
        assert len(talker.bodies) == 2


def test_a_pause_that_one_request_is_told_of_holds_for_all(tmp_path: Path) -> None:
    with talking(lambda _, n: says("x") if n else Reply(status=429, headers={"Retry-After": "30"})) as talker:
        asker, waited = asker_of(tmp_path, talker.address)
        asker.ask(ASKED, words_of)
        asker.ask([*ASKED, {"role": "user", "content": "another"}], words_of)
        assert (
            len(waited) >= 3
        )  # before the second try, and, the clock of the test being still, before each from then on
        assert all(29 < seconds <= 30 for seconds in waited)


@pytest.mark.parametrize(
    ("reply", "found", "tries"),
    [
        (Reply(status=401, text='{"error": {"message": "Not sk-secret"}}'), r"status 401 \(Not \[key\]\)", 1),
        (Reply(status=404, text='{"detail": "no model x"}'), r"status 404 \(no model x\)\. Next: check `address`", 1),
        (Reply(status=400, text='{"error": {"message": "context length is 10"}}'), "context length is 10", 1),
        (Reply(status=429, headers={"Retry-After": "86400"}), "86400 s asked for", 1),
        (Reply(status=500), "an answer in 3 tries, found status 500", 3),
        (Reply(status=307, headers={"Location": "http://elsewhere.example/"}), "status 307", 1),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_one_line_without_the_key(tmp_path: Path, reply: Reply, found: str, tries: int) -> None:
    with talking(lambda *_: reply) as talker:
        asker, _ = asker_of(tmp_path, talker.address, key="sk-secret", tries=3)
        with pytest.raises(ServerError, match=found) as error:
            asker.ask(ASKED, words_of)
        assert "sk-secret" not in repr(asker.client) + str(error.value)
        assert "\n" not in str(error.value)
        assert len(talker.bodies) == tries
        assert asker.kept.requests == 0


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    asker, waited = asker_of(tmp_path, "http://127.0.0.1:9/v1", tries=4)
    with pytest.raises(
        ServerError, match=r"http://127.0.0.1:9/v1: expected an answer in 4 tries, found none \(Connect"
    ):
        asker.ask(ASKED, words_of)
    assert waited == [1.0, 2.0, 4.0]


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    assert retry_after("2.5", 0) == 2.5
    assert retry_after(formatdate(1000.0, usegmt=True), 940.0) == 60.0
    assert retry_after(formatdate(1000.0, usegmt=True), 2000.0) == 0.0
    assert retry_after("", 0) is retry_after("soon", 0) is None


BROKEN = [
    "", "I think yes to all.", '{"answers": {"1": "yes"}}', '{"answers": ["yes", "no"]}', '{"answers": {"1": "yes"',
    '{"answers": {"1": "yes", "1": "no"}}', '{"answers": {"1": "perhaps"}}',
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_verdicts_are_asked_again_then_left_out_and_never_guessed(tmp_path: Path, broken: str) -> None:
    """Every first verdict is broken: the scores are as without. Every verdict is: nothing is judged."""

    def script(body: dict[str, Any], n: int) -> str:
        fine = body["seed"] > 0 or Question.of(body).kind == "explain"
        return right(body, n) if fine else broken

    with talking(right) as talker:
        whole = explained(tmp_path / "whole", talker.address)
    with talking(script) as talker:
        found = explained(tmp_path / "first", talker.address)
        assert found.cases == whole.cases
        assert found.requests == whole.requests + 4 * 6
        assert len({body["temperature"] for body in talker.bodies if body["seed"]}) == 1
    with talking(lambda body, n: right(body, n) if Question.of(body).kind == "explain" else broken) as talker:
        found = explained(tmp_path / "all", talker.address)
        asked = len(talker.bodies)
        assert asked == 4 * (1 + 6 * 3)
        for words in found.cases.values():
            assert words.words
            assert (words.said, words.scores, words.unanswered) == ({}, {}, 32 + 16)
        assert explained(tmp_path / "all", talker.address) == found
        assert len(talker.bodies) == asked


def test_without_words_nothing_is_judged(tmp_path: Path) -> None:
    with talking(lambda *_: "It fires on apples.") as talker:
        found = explained(tmp_path, talker.address)
        assert len(talker.bodies) == 4 * 3
    assert {words.words for words in found.cases.values()} == {""}
    assert not any(words.said for words in found.cases.values())


@pytest.mark.parametrize("stops_at", [0, 1, 5, 13, 27])
def test_a_run_that_is_cut_short_goes_on_and_pays_for_nothing_twice(tmp_path: Path, stops_at: int) -> None:
    with talking(right) as talker:
        whole = explained(tmp_path / "whole", talker.address)
        total = len(talker.bodies)
    refusing = talking(lambda body, n: right(body, n) if n < stops_at else Reply(status=403))
    with refusing as talker, pytest.raises(ServerError):
        explained(tmp_path / "cut", talker.address)
    kept = Kept(tmp_path / "cut/explain/answers.jsonl")
    assert kept.requests == stops_at
    with talking(right) as talker:
        assert explained(tmp_path / "cut", talker.address) == whole
        assert len(talker.bodies) == total - stops_at


def test_a_torn_or_altered_line_is_asked_again_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "explain/answers.jsonl"
    with talking(right) as talker:
        whole = explained(tmp_path, talker.address)
        total = len(talker.bodies)
        lines = file.read_bytes().splitlines(keepends=True)
        lines[3] = lines[3].replace(b"yes", b"no", 1) if b"yes" in lines[3] else lines[3].replace(b"100", b"101")
        lines[-1] = lines[-1][: len(lines[-1]) // 2]
        file.write_bytes(b"".join(lines))
        assert Kept(file).damaged == 2
        assert explained(tmp_path, talker.address) == whole
        assert len(talker.bodies) == total + 2
    assert Kept(file).requests == total


def test_what_is_kept_is_what_was_said(tmp_path: Path) -> None:
    kept, answer = Kept(tmp_path / "a/answers.jsonl"), Answer("\udc80\n{}\u2028", 3, 4, "m")
    kept.add("name", answer, {"messages": ASKED})
    assert Kept(tmp_path / "a/answers.jsonl").get("name") == answer


def test_two_jobs_of_a_run_ask_one_after_the_other(tmp_path: Path) -> None:
    file, order = tmp_path / "explain/answers.jsonl", []

    def job(name: str) -> None:
        with alone(file):
            order.append(f"{name} begins")
            time.sleep(0.2)
            order.append(f"{name} ends")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(job, "abc"))
    assert [one.split()[1] for one in order] == ["begins", "ends"] * 3
    assert order[0][0] == order[1][0] != order[2][0] == order[3][0]


def test_the_budget_holds_also_for_what_was_not_foreseen(tmp_path: Path) -> None:
    """Answers that are longer than expected, and second tries: no request begins that could go beyond."""
    wordy = Reply("no JSON", usage=(100, 400))
    for budget, most in ((Budget(7, 10**6), 7), (Budget(1000, 3000), 6)):
        with talking(lambda *_: wordy) as talker:
            with pytest.raises(OverBudget):
                explained(tmp_path / str(most), talker.address, budget=budget)
            kept = Kept(tmp_path / str(most) / "explain/answers.jsonl")
            assert len(talker.bodies) == kept.requests <= most
            assert kept.tokens <= budget.tokens


def test_the_estimate_is_what_is_asked_and_nothing_once_it_is_answered(tmp_path: Path) -> None:
    with talking(right) as talker:
        asker, _ = asker_of(tmp_path, talker.address)
        questions, cases = Questions(asker, read_prompts(None), shown), list(planted(1).values())
        requests, tokens = questions.estimate(cases)
        with ThreadPoolExecutor(3) as pool:
            questions.explain({NEURON: planted(1)}, pool)
        sent = [json.dumps(body["messages"]) for body in talker.bodies]
        assert requests == len(sent) == 4 * 7
        assert 0.5 < tokens / (sum(map(len, sent)) / 3 + 28 * 120) < 1.5
        assert questions.estimate(cases) == (0, 0)
        assert questions.estimate(list(planted(2).values()))[0] == 4 * 7


def test_answers_are_read_with_what_models_put_around_them() -> None:
    told = '<think>{"explanation": "no"}</think>Sure!\n```json\n{"explanation": " the word\\n apple "}\n```'
    assert words_of(told) == "the word apple"
    assert words_of('{"a": {"explanation": "inner"}}') is words_of('{"explanation": 3}') is None
    assert words_of(says("x" * 401)) is words_of(says(" ")) is None
    given = 'So: {"answers": {"1": "Yes", "2": false, "3": 1}} I hope that helps {you}.'
    assert verdicts_of(given, ["1", "2", "3"]) == {"1": True, "2": False, "3": True}
    assert verdicts_of(given, ["1", "2"]) is None


def test_settings_are_sent_and_null_leaves_one_out(tmp_path: Path) -> None:
    with talking(lambda *_: says("x")) as talker:
        asker, _ = asker_of(tmp_path, talker.address)
        asker.options = {"seed": None, "top_p": 0.5}
        asker.ask(ASKED, words_of)
        usual = {"model": "some-model", "messages": ASKED, "max_tokens": 1000, "temperature": 0.0}
        assert talker.bodies == [usual | {"top_p": 0.5}]
        assert "Authorization" not in talker.headers[0]

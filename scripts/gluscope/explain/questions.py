"""What is asked about sign cases: words first, then verdicts on texts; and how much of it is to come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial

from gluscope.core.cases import SignCase
from gluscope.core.neuron import NeuronId
from gluscope.explain.answers import verdicts_of, words_of
from gluscope.explain.asker import EXPECTED, Asker
from gluscope.explain.client import tokens_about
from gluscope.explain.examples import CaseExamples
from gluscope.explain.kept import Answer
from gluscope.explain.prompts import Message, Prompt
from gluscope.explain.score import Item, Shown, Tally, detection, fuzzing, to_explain, with_ids
from gluscope.explain.types import CaseWords, Explanation

_UNKNOWN = "x" * 120  # stands for words in estimates
Examples = Mapping[SignCase, CaseExamples]
Words = tuple[str | None, list[Answer]]
Verdicts = tuple[dict[str, bool] | None, list[Answer]]


@dataclass(frozen=True)
class Questions:
    """prompts: by name. shown: the texts of token ids. seed: of the order of texts."""

    asker: Asker
    prompts: Mapping[str, Prompt]
    shown: Shown
    seed: int = 0

    def estimate(self, cases: Iterable[CaseExamples]) -> tuple[int, int]:
        """About how many requests, and tokens of requests and answers, are not answered yet."""
        requests = tokens = 0
        for found in filter(lambda case: case.train, cases):
            first = self._first(found)
            words, known = self.asker.known(first, words_of)
            open_ = [] if known else [first]
            if words or not known:
                for messages, items in self._judging(found, words or _UNKNOWN):
                    parse = partial(verdicts_of, ids=_ids(items))
                    if not words or not self.asker.known(messages, parse)[1]:
                        open_.append(messages)
            requests += len(open_)
            tokens += sum(tokens_about(messages) + EXPECTED for messages in open_)
        return requests, tokens

    def explain(self, examples: Mapping[NeuronId, Examples], pool: Executor) -> dict[NeuronId, Explanation]:
        """Words and scores of neurons, asked at once as far as `pool` has threads."""
        asked = {
            (neuron, case): pool.submit(self.asker.ask, self._first(found), words_of)
            for neuron, cases in examples.items()
            for case, found in cases.items()
            if found.train
        }
        words = {at: one.result() for at, one in asked.items()}
        judged = {at: self._judge(examples[at[0]][at[1]], said, pool) for at, (said, _) in words.items() if said}
        return {
            neuron: self._explanation(
                neuron,
                cases,
                {case: words.get((neuron, case), (None, [])) for case in cases},
                {case: [(items, one.result()) for items, one in judged.get((neuron, case), [])] for case in cases},
            )
            for neuron, cases in examples.items()
        }

    def _explanation(
        self,
        neuron: NeuronId,
        cases: Examples,
        words: Mapping[SignCase, Words],
        judged: Mapping[SignCase, list[tuple[list[Item], Verdicts]]],
    ) -> Explanation:
        used = [answer for _, answers in words.values() for answer in answers]
        used += [answer for parts in judged.values() for _, (_, answers) in parts for answer in answers]
        return Explanation(
            neuron,
            self.asker.model,
            {name: prompt.version for name, prompt in self.prompts.items()},
            {
                case: CaseWords(words[case][0] or "", len(found.train), *_tallies(judged[case]))
                for case, found in cases.items()
            },
            requests=len(used),
            tokens=sum(answer.asked + answer.said for answer in used),
        )

    def _first(self, found: CaseExamples) -> list[Message]:
        return self.prompts["explain"].messages(to_explain(found, self.shown))

    def _judging(self, found: CaseExamples, words: str) -> Iterator[tuple[list[Message], list[Item]]]:
        """The requests that judge words, each with what it is about."""
        for name, texts in (("detect", detection), ("fuzz", fuzzing)):
            for items in texts(found, self.shown, self.seed):
                yield self.prompts[name].messages(with_ids(items), words), items

    def _judge(self, found: CaseExamples, words: str, pool: Executor) -> list[tuple[list[Item], Future[Verdicts]]]:
        return [
            (items, pool.submit(self.asker.ask, messages, partial(verdicts_of, ids=_ids(items))))
            for messages, items in self._judging(found, words)
        ]


def _ids(items: list[Item]) -> list[str]:
    return [text["id"] for text in with_ids(items)]


def _tallies(judged: list[tuple[list[Item], Verdicts]]) -> tuple[dict[str, Tally], int]:
    """Verdicts by kind of text; how many texts have none."""
    said: dict[str, Tally] = {}
    unanswered = 0
    for items, (verdicts, _) in judged:
        if verdicts is None:
            unanswered += len(items)
            continue
        for name, item in zip(_ids(items), items, strict=True):
            known = said.get(item.kind, Tally())
            said[item.kind] = Tally(known.judged + 1, known.yes + verdicts[name])
    return dict(sorted(said.items())), unanswered

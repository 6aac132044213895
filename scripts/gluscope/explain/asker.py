"""One question put to a language model until it gives an answer that can be used, inside of a budget."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gluscope.core.errors import GluscopeError
from gluscope.explain.client import Client, tokens_about
from gluscope.explain.kept import Answer, Kept, name_of
from gluscope.explain.prompts import Message

BROKEN = 3  # times that a question is asked whose answers cannot be used
EXPECTED = 120  # tokens of an answer, for estimates
_Parsed = TypeVar("_Parsed")


class OverBudget(GluscopeError):
    """What is asked for would take more than the config allows."""


@dataclass(frozen=True)
class Budget:
    """Of a run, all its starts together: requests that were answered, tokens of requests and answers."""

    requests: int
    tokens: int


@dataclass
class Asker:
    """model: its name. answer_tokens: most of an answer. options: what else to send; None leaves a setting out.

    where: what errors name. Many threads may use it.
    """

    client: Client
    kept: Kept
    model: str
    budget: Budget
    answer_tokens: int = 1000
    options: Mapping[str, Any] = field(default_factory=dict)
    where: str = "explain"

    def __post_init__(self) -> None:
        self._lock, self._open = threading.Lock(), Budget(0, 0)

    def ask(
        self, messages: list[Message], parse: Callable[[str], _Parsed | None]
    ) -> tuple[_Parsed | None, list[Answer]]:
        """The first answer that `parse` can use, or None; and all answers, from the kept ones where there are such.

        Raises ServerError and OverBudget.
        """
        answers = []
        for attempt in range(BROKEN):
            body = self._body(messages, attempt)
            name = name_of(body, attempt)
            answer = self.kept.get(name)
            if answer is None:
                with self._within_budget(messages):
                    answer = self.client.answer(body)
                    self.kept.add(name, answer, body)
            answers.append(answer)
            parsed = parse(answer.text)
            if parsed is not None:
                return parsed, answers
        return None, answers

    def known(self, messages: list[Message], parse: Callable[[str], _Parsed | None]) -> tuple[_Parsed | None, bool]:
        """The same from kept answers alone, and whether they are all that it takes."""
        for attempt in range(BROKEN):
            answer = self.kept.get(name_of(self._body(messages, attempt), attempt))
            if answer is None:
                return None, False
            if (parsed := parse(answer.text)) is not None:
                return parsed, True
        return None, True

    def refuse_over(self, requests: int, tokens: int) -> None:
        """Raise OverBudget if so much, beside what was spent, is more than the budget."""
        for spent, needed, allowed, what in (
            (self.kept.requests, requests, self.budget.requests, "requests"),
            (self.kept.tokens, tokens, self.budget.tokens, "tokens"),
        ):
            if needed and spent + needed > allowed:
                found = f"about {needed:,} needed beside {spent:,} spent"
                step = f"raise `max_{what}` of `explain` in your config file, or list fewer neurons"
                raise OverBudget(self.where, f"at most {allowed:,} {what} (`max_{what}`)", found, step)

    @contextmanager
    def _within_budget(self, messages: list[Message]) -> Iterator[None]:
        """Raises OverBudget where one request more, beside those that are open, could be too much."""
        tokens = tokens_about(messages) + EXPECTED
        with self._lock:
            self.refuse_over(self._open.requests + 1, self._open.tokens + tokens)
            self._open = Budget(self._open.requests + 1, self._open.tokens + tokens)
        try:
            yield
        finally:
            with self._lock:
                self._open = Budget(self._open.requests - 1, self._open.tokens - tokens)

    def _body(self, messages: list[Message], attempt: int) -> dict[str, Any]:
        usual = {
            "model": self.model,
            "messages": messages,
            "max_tokens": self.answer_tokens,
            "temperature": 0.5 if attempt else 0.0,  # the same answer again would be as broken
            "seed": attempt,
        }
        return {key: value for key, value in (usual | dict(self.options)).items() if value is not None}

"""What a language model's answer says, or that it says nothing that can be used. Never a guess."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

LONGEST = 400  # characters of an explanation
_THOUGHT = re.compile(r"<think>.*?</think>", re.S)
_SAID = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}


def words_of(answer: str) -> str | None:
    """The explanation that an answer gives, on one line; None where it gives none."""
    for found in _objects(answer):
        words = found.get("explanation")
        if isinstance(words, str) and 0 < len(words := " ".join(words.split())) <= LONGEST:
            return words
    return None


def verdicts_of(answer: str, ids: Collection[str]) -> dict[str, bool] | None:
    """Yes or no by id; None unless there is exactly one plain verdict for each."""
    for found in _objects(answer):
        verdicts = found.get("answers")
        if not isinstance(verdicts, dict) or set(verdicts) != set(ids):
            continue
        said = {name: _SAID.get(str(verdict).strip().lower()) for name, verdict in verdicts.items()}
        if None not in said.values():
            return said  # type: ignore[return-value]
    return None


def _objects(answer: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand in an answer, the last one first; not those inside of others."""
    text, at, found = _THOUGHT.sub("", answer), 0, []
    reader = json.JSONDecoder(object_pairs_hook=_once)
    while (at := text.find("{", at)) >= 0:
        try:
            value, at = reader.raw_decode(text, at)
            found.append(value)
        except (ValueError, RecursionError):
            at += 1
    yield from reversed(found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; one that says a key twice says nothing."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found

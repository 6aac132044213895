"""Rows of chat messages to texts, by the template that belongs to the tokenizer.

The template is Jinja from the model's folder; transformers renders it, in its sandbox. It alone says what stands
around a conversation and its turns: no beginning-of-sequence token is added to the one that it writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from gluscope.core.errors import DatasetError
from gluscope.dataset.files import no_template
from gluscope.dataset.raw import Surrogates
from gluscope.dataset.record import TokenSettings
from gluscope.dataset.tokenise import Piece, Tokeniser

# How ShareGPT data name the speakers; other names stay as they are.
ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant"}
ROLES |= {"observation": "tool", "function_response": "tool"}
# Around what a message says while its place in the text is looked for: noncharacters, which no text should hold.
_MARK = re.compile("([\ufdd0\ufdd1])([0-9]+)\ufdd2")
_STEP = "correct it, or take it out"


class Turn(NamedTuple):
    """Where the words of a message stand: from `begin` to before `end`, in characters or tokens."""

    begin: int
    end: int
    role: str


@dataclass(frozen=True)
class Rendered:
    """A conversation as text. turns: in characters; without those messages that the template rewrites or leaves out."""

    text: str
    turns: tuple[Turn, ...] = ()


class ChatTemplate:
    """The chat template of a tokenizer (transformers'). where: its name in errors."""

    def __init__(self, tokenizer: Any, where: str, settings: TokenSettings) -> None:
        """Raises DatasetError for a tokenizer without template, or variables that the template does not read."""
        self._tokenizer, self._variables = tokenizer, dict(settings.template_kwargs or {})
        found = tokenizer.chat_template
        if not found:
            raise no_template(where)
        source = "".join(found.values()) if isinstance(found, dict) else found
        self.writes_date = "strftime_now" in source and "date_string" not in self._variables
        words = sorted(set(re.findall(r"[A-Za-z_]\w+", source)))
        for name in self._variables:
            if name not in words and name != "continue_final_message":  # transformers' own
                near = get_close_matches(name, words, n=1)
                step = f"write {near[0]!r}, the nearest word in it" if near else "leave it out"
                expected = f"a variable that the chat template of {where} reads"
                raise DatasetError("template_kwargs", expected, repr(name), step)

    def render(self, value: Any, where: str) -> Rendered:
        """A conversation; of null, or no message, the empty text.

        where: the row, for errors. Raises DatasetError for what is no list of messages, or nothing that the template
        takes.
        """
        messages = read_messages(value, where)
        if not messages:
            return Rendered("")
        text = self._apply(messages, where)
        return Rendered(text, self._turns(messages, text))

    def _apply(self, messages: list[dict[str, Any]], where: str) -> str:
        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, **self._variables))
        except Exception as error:  # whatever a template raises, or makes Python raise
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise DatasetError(where, "messages that the tokenizer's chat template takes", why, _STEP) from error

    def _turns(self, messages: list[dict[str, Any]], text: str) -> tuple[Turn, ...]:
        """By a second rendering, with marks around what the messages say; none where the marks change the text."""
        try:
            marked = self._apply([_marked(message, i) for i, message in enumerate(messages)], "")
        except DatasetError:
            return ()
        places: dict[str, dict[int, int]] = {"\ufdd0": {}, "\ufdd1": {}}
        taken = 0
        for mark in _MARK.finditer(marked):
            kind, number, at = mark[1], int(mark[2]), mark.start() - taken
            places[kind][number] = min(places[kind].get(number, at), at) if kind == "\ufdd0" else at
            taken += len(mark[0])
        if _MARK.sub("", marked) != text:
            return ()
        turns = []
        for i, message in enumerate(messages):
            begin, end = places["\ufdd0"].get(i), places["\ufdd1"].get(i)
            words = _words(message)
            if begin is None and end is not None:  # the template cuts its start, such as earlier thoughts
                before = text[max(0, end - len(words)) : end]
                begin = end - _alike(words[::-1], before[::-1])
            if end is None and begin is not None:
                end = begin + _alike(words, text[begin : begin + len(words)])
            if begin is not None and end is not None and begin < end:
                turns.append(Turn(begin, end, message["role"]))
        return tuple(sorted(turns))


def read_messages(value: Any, where: str) -> list[dict[str, Any]]:
    """The messages of a row, a list or JSON text of one: `{role, content}`, as ShareGPT's `{from, value}` are given.

    Raises DatasetError, with `where`, for anything else.
    """
    try:
        found = Surrogates().clean(json.loads(value)) if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        expected = "a list of messages, or one as JSON text"
        raise DatasetError(where, expected, f"{value!r:.60} ({error})", _STEP) from None
    if found is None:
        return []
    if not isinstance(found, list):
        raise DatasetError(where, "a list of messages", f"a {type(found).__name__}", _STEP)
    return [_message(message, f"{where}, message {i}") for i, message in enumerate(found)]


def _message(found: Any, where: str) -> dict[str, Any]:
    expected = "an object with `role` and `content`, or `from` and `value`"
    if not isinstance(found, dict):
        raise DatasetError(where, expected, f"{json.dumps(found, default=str):.60}", _STEP)
    message = {key: value for key, value in found.items() if value is not None}
    if "role" not in message and "from" in message:
        speaker = message.pop("from")
        message = {"role": ROLES.get(str(speaker).lower(), speaker), "content": message.pop("value", None), **message}
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str):
        raise DatasetError(where, expected, f"the keys {', '.join(found) or '(none)'}", _STEP)
    blocks = isinstance(content, list) and all(isinstance(block, dict) for block in content)
    if not (blocks or content is None or isinstance(content, str)):
        raise DatasetError(where, "a text as its content", f"{json.dumps(content, default=str):.60}", _STEP)
    if content is None and not message.keys() - {"role", "content"}:
        raise DatasetError(where, expected, f"the keys {', '.join(found)} without content", _STEP)
    return message


def _texts(message: dict[str, Any]) -> list[str]:
    """What a message says: its content, or the texts among the blocks of it."""
    content = message.get("content")
    if isinstance(content, list):
        return [block["text"] for block in content if isinstance(block.get("text"), str)]
    return [content] if isinstance(content, str) else []


def _alike(one: str, other: str) -> int:
    """How many characters two texts have in common at their start."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _words(message: dict[str, Any]) -> str:
    return "".join(_texts(message)).strip()


def _marked(message: dict[str, Any], number: int) -> dict[str, Any]:
    """With marks around what the message says, within white space at its ends, which many templates take off."""
    texts = _texts(message)
    said = [i for i, text in enumerate(texts) if text.strip()]
    if not said:
        return message
    first, last = said[0], said[-1]
    space = len(texts[first]) - len(texts[first].lstrip())
    texts[first] = f"{texts[first][:space]}\ufdd0{number}\ufdd2{texts[first][space:]}"
    end = len(texts[last].rstrip())
    texts[last] = f"{texts[last][:end]}\ufdd1{number}\ufdd2{texts[last][end:]}"
    if isinstance(message["content"], str):
        return {**message, "content": texts[0]}
    left = iter(texts)
    blocks = [
        {**block, "text": next(left)} if isinstance(block.get("text"), str) else block for block in message["content"]
    ]
    return {**message, "content": blocks}


def chat_pieces(chats: Sequence[Rendered], tokeniser: Tokeniser, settings: TokenSettings) -> list[list[Piece]]:
    """Examples of each rendered conversation, as `Tokeniser.pieces` makes them of texts.

    The tokens are those of transformers' `apply_chat_template`. Where they begin with the beginning-of-sequence token,
    every piece of a conversation that is split does; `bos` puts one there, or takes it away.
    """
    encoded = tokeniser.encoded([chat.text for chat in chats])
    return [_pieces(chat, encoding, tokeniser.bos_id, settings) for chat, encoding in zip(chats, encoded, strict=True)]


def _pieces(chat: Rendered, encoding: Any, first: int | None, settings: TokenSettings) -> list[Piece]:
    """first: id of the beginning-of-sequence token."""
    ids, offsets = encoding.ids, encoding.offsets
    begins = bool(ids) and ids[0] == first
    lead = [first] if (begins if settings.bos is None else settings.bos) else []
    ids, offsets = (ids[1:], offsets[1:]) if begins else (ids, offsets)
    room = settings.max_length - len(lead)
    turns = _in_tokens(chat.turns, offsets)
    pieces = []
    for start in range(0, len(ids), room) if settings.long_texts == "split" else range(min(1, len(ids))):
        piece = Piece(np.array(lead + ids[start : start + room], np.int32))
        piece.turns = _within(turns, start, start + room, len(lead))
        if settings.long_texts == "split" and len(ids) > room:
            piece.offset, piece.begin = start, offsets[start][0] if start else 0
            piece.end = offsets[start + room][0] if start + room < len(ids) else None
        pieces.append(piece)
    return pieces


def _in_tokens(turns: Sequence[Turn], offsets: Sequence[tuple[int, int]]) -> list[Turn]:
    """From characters to tokens. offsets: the characters of each token."""
    found, at = [], 0
    for turn in turns:
        while at < len(offsets) and offsets[at][1] <= turn.begin:
            at += 1
        begin = at
        while at < len(offsets) and offsets[at][0] < turn.end:
            at += 1
        if begin < at:
            found.append(Turn(begin, at, turn.role))
    return found


def _within(turns: Sequence[Turn], start: int, stop: int, shift: int) -> list[Turn]:
    """The turns as a piece of the tokens start to stop - 1 has them, behind `shift` others."""
    cut = [Turn(max(turn.begin, start), min(turn.end, stop), turn.role) for turn in turns]
    return [Turn(t.begin - start + shift, t.end - start + shift, t.role) for t in cut if t.begin < t.end]

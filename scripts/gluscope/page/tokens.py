"""Token ids to text that people read, from a `tokenizer.json` alone.

A token is a piece of bytes, not of text: it can end in the middle of a character. The character is shown at the token
that completes it, where the model can know it as well; the bytes before stand as `⟨E2 80⟩`.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from gluscope.core.errors import ModelError

LONGEST_WORD = 40
# Letters and digits of scripts with spaces between words (not Thai to Myanmar, Khmer, Chinese, Japanese), and marks.
_NO_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_MARKS = "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0966-\u0dff\u200c\u200d"
_LETTER = rf"(?:[^\W_{_NO_SPACES}]|[{_MARKS}])"
_WORD_START = re.compile(rf"(?:['’]?{_LETTER})+")
_WORD_END = re.compile(rf"{_LETTER}(?:['’]?{_LETTER})*['’]?$")
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class TokenKind(IntEnum):
    """How a token is to be shown."""

    __hash__ = int.__hash__  # Enum's own is Python code, and pages count their tokens by the hundred thousand

    TEXT = 0
    SPECIAL = 1  # BOS, padding and the like: not part of the text
    BYTES = 2  # text contains ⟨..⟩ for bytes of a character that does not end in this token


class Token(NamedTuple):
    """One token as shown. `text` keeps spaces and newlines as they are. skipped: it counts for nothing in its run."""

    text: str
    kind: TokenKind = TokenKind.TEXT
    skipped: bool = False


class TokenTexts:
    """Texts of a tokenizer's tokens.

    Knows byte-level BPE (a decoder of type ByteLevel anywhere in the file) and SentencePiece's habits (`▁` for a
    space, `<0xE2>` for a byte).
    """

    def __init__(self, settings: dict[str, Any], skipped: Iterable[int] = ()) -> None:
        """settings: the content of tokenizer.json. skipped: ids that the run skips."""
        vocabulary = settings["model"]["vocab"]
        pairs: Iterable[tuple[str, int]] = (
            vocabulary.items()
            if isinstance(vocabulary, dict)
            else ((piece[0], i) for i, piece in enumerate(vocabulary))
        )
        self._token = {number: token for token, number in pairs}
        added = settings.get("added_tokens") or []
        self._added = {entry["id"]: Token(entry["content"], TokenKind(bool(entry["special"]))) for entry in added}
        steps = _types(settings.get("decoder")) | _types(settings.get("pre_tokenizer"))
        self._byte_level = "ByteLevel" in steps
        self._skipped = frozenset(skipped)
        self._whole: dict[int, Token] = {}  # whole characters after a whole character; most are, and many times

    @classmethod
    def read(cls, folder: str | Path, skipped: Iterable[int] = ()) -> TokenTexts:
        """The tokenizer of a model's folder. Raises ModelError if there is none that can be read."""
        path = Path(folder) / "tokenizer.json"
        try:
            with _without_collection():
                return cls(json.loads(path.read_text(encoding="utf-8")), skipped)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            step = "save the tokenizer there: AutoTokenizer.from_pretrained(...).save_pretrained(folder)"
            raise ModelError(str(path), "a tokenizer", type(error).__name__, step) from error

    def tokens(self, ids: Sequence[int]) -> list[Token]:
        """The tokens of a text, in order."""
        known = list(map(self._whole.get, ids))
        if all(known):  # a Token, being a tuple with something in it, is never false
            return cast(list[Token], known)
        shown: list[Token] = []
        open_bytes = b""  # start of a character that earlier tokens left unfinished
        for number, token in zip(ids, known, strict=True):
            if open_bytes or token is None:
                token, rest = self._after(open_bytes, number)
                token = token._replace(skipped=number in self._skipped)
                if not open_bytes and not rest:
                    self._whole[number] = token
                open_bytes = rest
            shown.append(token)
        return shown

    def skips(self, ids: np.ndarray) -> np.ndarray:
        """bool [token]: which tokens the run skips."""
        return np.isin(ids, list(self._skipped)) if self._skipped else np.zeros(len(ids), bool)

    def _after(self, open_bytes: bytes, number: int) -> tuple[Token, bytes]:
        """A token where earlier ones left some bytes of a character, and what it leaves."""
        number = int(number)
        added = self._added.get(number)
        if added is not None or number not in self._token:
            return added or Token(f"⟨id {number}⟩", TokenKind.SPECIAL), b""
        return _read(open_bytes, self._bytes(self._token[number]))

    def token(self, number: int) -> Token:
        """One token by itself."""
        return self.tokens([number])[0]

    def _bytes(self, token: str) -> bytes:
        if self._byte_level:
            try:
                return token.translate(_byte_of_letter()).encode("latin-1")
            except UnicodeEncodeError:  # letters that stand for no byte: text as it is
                return token.encode()
        byte = _BYTE_TOKEN.fullmatch(token)
        return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode("utf-8", "surrogatepass")


def word_around(tokens: Sequence[Token], position: int) -> str:
    """The word that the token at `position` is a piece of; empty where it is a whole one, or none.

    A word is a run of letters, digits and marks. Scripts that put no space between words have none here, nor have runs
    of more than `LONGEST_WORD` characters.
    """
    if tokens[position].kind is not TokenKind.TEXT:
        return ""
    before, own, after = "", tokens[position].text, ""
    for token in reversed(tokens[max(0, position - LONGEST_WORD) : position]):
        if token.kind is not TokenKind.TEXT or not _goes_on(token.text, before + own):
            break
        before = token.text + before
    for token in tokens[position + 1 : position + 1 + LONGEST_WORD]:
        if token.kind is not TokenKind.TEXT or not _goes_on(own + after, token.text):
            break
        after += token.text
    if not before + after:
        return ""
    parts = [_part(_WORD_END, before), own, _part(_WORD_START, after)]
    if not before:
        parts[1] = _part(_WORD_END, own)
    if not after:
        parts[1] = _part(_WORD_START, own)
    word = "".join(parts)
    return word if len(word) <= LONGEST_WORD else ""


def _part(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[0] if found else ""


def _goes_on(before: str, after: str) -> bool:
    """Whether a word stands across the border of two texts."""
    return bool(_WORD_END.search(before) and _WORD_START.match(after))


def _read(before: bytes, own: bytes) -> tuple[Token, bytes]:
    """A token's text, and what it leaves of an unfinished character. `before` was left by the tokens before it."""
    text, kind, rest, shown = "", TokenKind.TEXT, before + own, len(before)
    while rest:
        try:
            return Token(text + rest.decode(), kind), b""
        except UnicodeDecodeError as error:
            text += rest[: error.start].decode()
            unfinished = error.reason == "unexpected end of data"
            end = len(rest) if unfinished else error.end
            bad, after = rest[error.start : end], rest[end:]
            new = bad[max(0, shown - error.start) :]
            if new:
                text, kind = f"{text}⟨{new.hex(' ').upper()}⟩", TokenKind.BYTES
            if unfinished:
                return Token(text, kind), bad
            shown, rest = max(0, shown - error.end), after
    return Token(text, kind), b""


@contextmanager
def _without_collection() -> Iterator[None]:
    """No garbage collection: a large tokenizer's many new lists set it off again and again, in vain.

    256,000 tokens with merges are read in 0.18 s instead of 0.44 s.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _types(step: Any) -> set[str]:
    """Types of a decoder or pre-tokenizer and of what it consists of."""
    if not isinstance(step, dict):
        return set()
    parts = [*(step.get("decoders") or []), *(step.get("pretokenizers") or [])]
    return {str(step.get("type"))}.union(*map(_types, parts))


@cache
def _byte_of_letter() -> dict[int, str]:
    """Byte-level BPE's letters (Radford et al. 2019): printable Latin-1 stands for itself, the rest from U+0100 on.

    For `str.translate`, to a character of Latin-1 for each byte; what is no letter, to one that Latin-1 lacks.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return dict.fromkeys(others, "\uffff") | {0x100 + i: chr(byte) for i, byte in enumerate(others)}

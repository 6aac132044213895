"""Texts to token ids, with the tokenizer that belongs to the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import DatasetError
from gluscope.dataset.record import TokenSettings
from gluscope.dataset.sources import Located
from gluscope.dataset.special import PROBES, TOKENIZER_JSON, SpecialTokens

CHARACTERS_AT_ONCE = 1 << 22


@dataclass
class Piece:
    """An example made of one text, or of a part of it.

    ids: int32 [token]. offset: tokens of the text before this piece. begin, end: the characters that it covers; None to
    the end. turns: of a conversation, where each message's words stand in `ids`: (first token, token behind the last,
    role).
    """

    ids: np.ndarray
    offset: int = 0
    begin: int = 0
    end: int | None = None
    turns: Sequence[tuple[int, int, str]] | None = None


class Tokeniser:
    """A fast tokenizer, and what it puts around a text.

    Texts are tokenised by the folder's `tokenizer.json` itself, where it has one: transformers' AutoTokenizer builds a
    class after the model's type, which may be another tokenizer. What stands around a text is the file's as well
    (beside it transformers takes no notice of `add_bos_token`), unless the data set's `bos` says otherwise.
    prefix, suffix: int32 ids before and after every piece, such as the beginning-of-sequence token.
    compared, other: texts so far, and those of which AutoTokenizer makes other tokens.
    """

    def __init__(self, located: Located, bos: bool | None) -> None:
        """bos: see TokenSettings. Raises DatasetError without a (fast) tokenizer, or one without the BOS asked for."""
        self._backend, self._tokenizer, self._auto = _load(located)
        for backend in (self._backend, *([self._auto.backend_tokenizer] if self._auto else [])):
            backend.no_padding()
            backend.no_truncation()
        self.compared = self.other = 0
        self.auto_class = type(self._auto).__name__
        prefix, suffix = self._around(located, self._tokenizer)
        self._around_differs = bos is None and self._auto is not None and _whole(self._auto) != _whole(self._tokenizer)
        first = self.bos_id = self._tokenizer.bos_token_id
        if bos is not None:
            prefix = [token for token in prefix if token != first]
        if bos:
            if first is None:
                step = "set `bos` to false, or leave it out"
                raise DatasetError(located.id, "a beginning-of-sequence token", "a tokenizer without one", step)
            prefix = [first, *prefix]
        self.prefix, self.suffix = np.array(prefix, np.int32), np.array(suffix, np.int32)

    def save(self, path: Path) -> None:
        """Write the tokenizer that is used as a `tokenizer.json`."""
        self._backend.save(str(path), pretty=False)

    @property
    def with_template(self) -> Any:
        """transformers' tokenizer, which has the chat template."""
        return self._tokenizer

    @property
    def special(self) -> SpecialTokens:
        return SpecialTokens.of(self._tokenizer)

    @property
    def around(self) -> dict[str, list[int]]:
        """`prefix` and `suffix` by name."""
        return {"prefix": self.prefix.tolist(), "suffix": self.suffix.tolist()}

    @property
    def differs(self) -> str | None:
        """In words, what AutoTokenizer would have done otherwise; None for nothing."""
        parts = [f"other tokens in {self.other} of {self.compared} texts"] if self.other else []
        parts += ["other special tokens around a text"] if self._around_differs else []
        return f"transformers' AutoTokenizer ({self.auto_class}) gives {' and '.join(parts)}" if parts else None

    def _around(self, located: Located, tokenizer: Any) -> tuple[list[int], list[int]]:
        """What the tokenizer puts around texts of itself, learnt from some."""
        found = set()
        for probe in PROBES:
            whole, inner = (
                tokenizer(probe)["input_ids"],
                self._backend.encode(probe, add_special_tokens=False).ids,
            )
            start = next((i for i in range(len(whole)) if whole[i : i + len(inner)] == inner), None)
            if start is not None:
                found.add((tuple(whole[:start]), tuple(whole[start + len(inner) :])))
        if len(found) != 1:
            step = "set `bos` to false and see whether `input_ids` made beforehand suit you better"
            raise DatasetError(located.id, "fixed special tokens around a text", "others for each text", step)
        prefix, suffix = found.pop()
        return list(prefix), list(suffix)

    def pieces(self, texts: list[str | None], settings: TokenSettings) -> list[list[Piece]]:
        """Examples of each text: one, or several where a long one is split; none of a text without a token.

        No example is longer than settings.max_length, special tokens included. Raises DatasetError where those
        leave no room.
        """
        room = settings.max_length - len(self.prefix) - len(self.suffix)
        if room < 1:
            step = "set `max_length` higher"
            raise DatasetError("max_length", "room for a token of the text", f"{settings.max_length}", step)
        pieces = []
        for some in _some_at_once([text or "" for text in texts]):
            encoded = self._backend.encode_batch_fast(some, add_special_tokens=False)
            self._compare(some, encoded)
            for text, encoding in zip(some, encoded, strict=True):
                ids = np.array(encoding.ids, np.int32)
                if len(ids) <= room or settings.long_texts == "truncate":
                    pieces.append([Piece(self._wrap(ids[:room]))] if len(ids) else [])
                else:
                    pieces.append(self._split(text, ids, room))
        return pieces

    def encoded(self, texts: Sequence[str]) -> Iterator[Any]:
        """Texts encoded with the characters of each token, and with nothing around them."""
        for some in _some_at_once(list(texts)):
            encoded = self._backend.encode_batch(some, add_special_tokens=False)
            self._compare(some, encoded)
            yield from encoded

    def _compare(self, texts: list[str], encoded: list[Any]) -> None:
        """Count the texts of which AutoTokenizer's makes other tokens, if it is another one at all."""
        self.compared += len(texts)
        if self._auto is None:
            return
        others = self._auto.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        self.other += sum(one.ids != other.ids for one, other in zip(encoded, others, strict=True))

    def _split(self, text: str, ids: np.ndarray, room: int) -> list[Piece]:
        offsets = self._backend.encode(text, add_special_tokens=False).offsets
        starts = range(0, len(ids), room)
        cuts = [0, *(offsets[start][0] for start in starts[1:]), None]
        return [
            Piece(self._wrap(ids[start : start + room]), start, cuts[i] or 0, cuts[i + 1])
            for i, start in enumerate(starts)
        ]

    def _wrap(self, ids: np.ndarray) -> np.ndarray:
        return np.concatenate([self.prefix, ids, self.suffix])


def save_tokenizer(located: Located, path: Path) -> None:
    """Write the tokenizer of texts that are tokenised already, for pages to read."""
    file = Path(located.folder) / TOKENIZER_JSON
    if file.is_file():
        shutil.copyfile(file, path)
    else:
        _load(located)[0].save(str(path), pretty=False)


def special_tokens(located: Located) -> SpecialTokens:
    """Of the tokenizer of texts that are tokenised already. Raises DatasetError for a folder that has none."""
    return SpecialTokens.of(_load(located)[1])


def _some_at_once(texts: list[str]) -> Iterator[list[str]]:
    """Texts that are tokenised together: tokens take far more memory than their text."""
    first, size = 0, 0
    for end, text in enumerate(texts):
        if end > first and size + len(text) > CHARACTERS_AT_ONCE:
            yield texts[first:end]
            first, size = end, 0
        size += len(text)
    if texts:
        yield texts[first:]


def _whole(tokenizer: Any) -> list[list[int]]:
    return [tokenizer(probe)["input_ids"] for probe in PROBES]


def _load(located: Located) -> tuple[Any, Any, Any]:
    """The tokenizer that tokenises (of `tokenizers`), transformers' around it, and AutoTokenizer's where it is another.

    Raises DatasetError for a folder that has none, or a damaged one.
    """
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    file = Path(located.folder) / TOKENIZER_JSON
    try:
        with _quiet():
            auto = _from(AutoTokenizer, located, must=not file.is_file())
            if file.is_file():
                own = Tokenizer.from_file(str(file))
                found = own, _from(PreTrainedTokenizerFast, located), auto
            else:
                found = auto.backend_tokenizer, auto, None
    except Exception as error:  # the libraries raise many kinds
        if isinstance(error, AttributeError):
            step = "save it as a fast one (tokenizer.json)"
            raise DatasetError(located.id, "a fast tokenizer", type(auto).__name__, step) from error
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(located.id, "a tokenizer (tokenizer.json)", why, "check `tokenizer`") from error
    if found[2] is not None and _same(found[0], getattr(found[2], "backend_tokenizer", None)):
        found = (*found[:2], None if _whole(found[1]) == _whole(found[2]) else found[2])
    return found


def _from(cls: Any, located: Located, must: bool = True) -> Any:
    try:
        return cls.from_pretrained(located.folder, local_files_only=True, trust_remote_code=False)
    except Exception:
        if must:
            raise
        return None


def _same(own: Any, other: Any) -> bool:
    """Whether two tokenizers do the same to a text, special tokens around it and padding aside."""
    if other is None:
        return False
    one, two = (json.loads(each.to_str()) for each in (own, other))
    return all(one[part] == two[part] for part in ("model", "normalizer", "pre_tokenizer", "added_tokens"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' warning that a tokenizer is read as another class than the folder names, on purpose."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)

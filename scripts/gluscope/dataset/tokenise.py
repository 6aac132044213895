"""Texts to token ids, with the tokenizer that belongs to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gluscope.core.errors import DatasetError
from gluscope.dataset.record import TokenSettings
from gluscope.dataset.sources import Located

_PROBES = ("a", "the cat", "1")


@dataclass
class Piece:
    """An example made of one text, or of a part of it.

    text: index of the text. ids: int32 [token]. offset: tokens of the text before this piece. begin, end: the
    characters that it covers; None to the end.
    """

    text: int
    ids: np.ndarray
    offset: int = 0
    begin: int = 0
    end: int | None = None


class Tokeniser:
    """A fast tokenizer, and what it puts around a text.

    prefix, suffix: int32 ids before and after every piece, such as the beginning-of-sequence token.
    """

    def __init__(self, located: Located, bos: bool | None) -> None:
        """bos: see TokenSettings. Raises DatasetError without a (fast) tokenizer, or one without the BOS asked for."""
        self._tokenizer = _load(located)
        self._backend = self._tokenizer.backend_tokenizer
        self._backend.no_padding()
        self._backend.no_truncation()
        prefix, suffix = self._around(located)
        first = self._tokenizer.bos_token_id
        if bos is not None:
            prefix = [token for token in prefix if token != first]
        if bos:
            if first is None:
                step = "set `bos` to false, or leave it out"
                raise DatasetError(located.id, "a beginning-of-sequence token", "a tokenizer without one", step)
            prefix = [first, *prefix]
        self.prefix, self.suffix = np.array(prefix, np.int32), np.array(suffix, np.int32)

    def _around(self, located: Located) -> tuple[list[int], list[int]]:
        """What the tokenizer puts around texts of itself, learnt from some."""
        found = set()
        for probe in _PROBES:
            whole, inner = (
                self._tokenizer(probe)["input_ids"],
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

    def pieces(self, texts: list[str | None], settings: TokenSettings) -> list[Piece]:
        """Examples of the texts, in order: one each, or several where a long one is split. None where it has no token.

        No example is longer than settings.max_length, special tokens included. Raises DatasetError where those
        leave no room.
        """
        room = settings.max_length - len(self.prefix) - len(self.suffix)
        if room < 1:
            step = "set `max_length` higher"
            raise DatasetError("max_length", "room for a token of the text", f"{settings.max_length}", step)
        encoded = self._backend.encode_batch_fast([text or "" for text in texts], add_special_tokens=False)
        pieces = []
        for i, encoding in enumerate(encoded):
            ids = np.array(encoding.ids, np.int32)
            if len(ids) <= room or settings.long_texts == "truncate":
                if len(ids):
                    pieces.append(Piece(i, self._wrap(ids[:room])))
            else:
                pieces += self._split(i, texts[i] or "", ids, room)
        return pieces

    def _split(self, index: int, text: str, ids: np.ndarray, room: int) -> list[Piece]:
        offsets = self._backend.encode(text, add_special_tokens=False).offsets
        starts = range(0, len(ids), room)
        cuts = [0, *(offsets[start][0] for start in starts[1:]), None]
        return [
            Piece(index, self._wrap(ids[start : start + room]), start, cuts[i] or 0, cuts[i + 1])
            for i, start in enumerate(starts)
        ]

    def _wrap(self, ids: np.ndarray) -> np.ndarray:
        return np.concatenate([self.prefix, ids, self.suffix])


def _load(located: Located) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(located.folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises many kinds for a folder that has no tokenizer, or a damaged one
        found = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(located.id, "a tokenizer (tokenizer.json)", found, "check `tokenizer`") from error
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        step = "save it as a fast one (tokenizer.json)"
        raise DatasetError(located.id, "a fast tokenizer", type(tokenizer).__name__, step)
    return tokenizer

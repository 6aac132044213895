"""From a source to the examples of a token data set, some rows at a time: tokenise or take over, up to M tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluscope.core.errors import DatasetError
from gluscope.dataset.chat import ChatTemplate, chat_pieces
from gluscope.dataset.columns import Row, as_text
from gluscope.dataset.reader import IDS, MASK
from gluscope.dataset.record import TokenSettings
from gluscope.dataset.table import Table
from gluscope.dataset.tokenise import Piece, Tokeniser

ROWS_AT_ONCE = 256


@dataclass
class Taken:
    """A row of the source, and the examples that are made of it.

    source_row: where in the source it stands. row: its columns as they are stored. without_turns: it is a conversation
    of whose messages none was found in its text.
    """

    source_row: int
    row: Row
    pieces: list[Piece]
    without_turns: bool = False


def take_order(rows: int, seed: int | None) -> np.ndarray:
    """int64 [row]: the source's rows in the order in which they are taken.

    With a seed it is the order of `datasets.Dataset.shuffle(seed=seed)`.
    """
    return np.arange(rows) if seed is None else np.random.default_rng(seed).permutation(rows)


def up_to(chunks: Iterable[list[Taken]], max_tokens: int | None) -> Iterator[list[Taken]]:
    """The examples in order, ended by the first that would take their sum beyond max_tokens; that one is left out."""
    left = float("inf") if max_tokens is None else max_tokens
    for some in chunks:
        for i, taken in enumerate(some):
            left -= sum(len(piece.ids) for piece in taken.pieces)
            if left < 0:
                while taken.pieces and left < 0:
                    left += len(taken.pieces.pop().ids)
                yield some[: i + bool(taken.pieces)]
                return
        yield some


def tokenised(source: Table, order: np.ndarray, tokeniser: Tokeniser, settings: TokenSettings) -> Iterator[list[Taken]]:
    """Examples of a source's text column. A null text has no tokens. Raises DatasetError for one that is no text."""
    for numbers, rows in _rows(source, order):
        texts = [_text(row.get(settings.text_column), settings, place) for place, row in rows]
        pieces = tokeniser.pieces(texts, settings)
        yield [
            Taken(number, source.columns.stored(row), own)
            for number, (_, row), own in zip(numbers, rows, pieces, strict=True)
        ]


def rendered(
    source: Table, order: np.ndarray, tokeniser: Tokeniser, template: ChatTemplate, settings: TokenSettings
) -> Iterator[list[Taken]]:
    """Examples of a source's conversations. In the rows the messages have given way to the text made of them.

    Raises DatasetError, with the row, for what is no list of messages, or nothing that the template takes.
    """
    column = settings.column
    for numbers, rows in _rows(source, order):
        chats = [template.render(row.get(column), place) for place, row in rows]
        pieces = chat_pieces(chats, tokeniser, settings)
        yield [
            Taken(number, source.columns.stored({**row, column: chat.text}), own, bool(chat.text) and not chat.turns)
            for number, (_, row), chat, own in zip(numbers, rows, chats, pieces, strict=True)
        ]


def taken_over(source: Table, order: np.ndarray) -> Iterator[list[Taken]]:
    """Examples of a source that has `input_ids`; what its `attention_mask` hides is left out.

    Raises DatasetError for ids that are no whole numbers from 0 to 2^31 - 1, or a mask that does not fit.
    """
    for numbers, rows in _rows(source, order):
        some = []
        for number, (place, row) in zip(numbers, rows, strict=True):
            ids = _token_ids(row.get(IDS), place)
            if (mask := row.get(MASK)) is not None:
                ids = _unmasked(ids, np.array(mask), place)
            some.append(Taken(number, source.columns.stored(row), [Piece(ids)] if len(ids) else []))
        yield some


def _rows(source: Table, order: np.ndarray) -> Iterator[tuple[list[int], list[tuple[str, Row]]]]:
    """Some rows at a time: their numbers in the source, and each with its place for errors."""
    for start in range(0, len(order), ROWS_AT_ONCE):
        numbers = order[start : start + ROWS_AT_ONCE]
        yield numbers.tolist(), source.take(numbers)


def _text(value: Any, settings: TokenSettings, place: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    found, step = f"{as_text(value)!s:.40} ({type(value).__name__})", "set `text_column` to one that holds texts"
    raise DatasetError(place, f"a text in the column {settings.text_column!r}", found, step)


def _token_ids(value: Any, place: str) -> np.ndarray:
    """int32 [token] of a row; a null row has none."""
    if value is not None and not (isinstance(value, list) and all(type(one) in (int, type(None)) for one in value)):
        expected, step = "lists of whole numbers in `input_ids`", "tokenise it again, or drop the column"
        raise DatasetError(place, expected, f"{as_text(value)!s:.40}", step)
    for one in value or ():
        if one is None or not 0 <= one < 2**31:
            raise DatasetError(place, "token ids from 0 to 2147483647", str(one), "tokenise it again")
    return np.array(value or (), np.int32)


def _unmasked(ids: np.ndarray, mask: np.ndarray, where: str) -> np.ndarray:
    """The tokens that the mask shows; it may hide some at either end only."""
    if mask.shape != ids.shape:
        found = f"one of {mask.size} for {ids.size} tokens"
        raise DatasetError(where, "an attention_mask as long as its input_ids", found, "tokenise it again")
    shown = np.flatnonzero(mask == 1)
    if not np.isin(mask, (0, 1)).all() or (len(shown) and shown[-1] - shown[0] + 1 != len(shown)):
        expected = "an attention_mask of 1 at a row's tokens and 0 at padding before or after"
        raise DatasetError(where, expected, "another pattern", "tokenise it again")
    return ids[shown]

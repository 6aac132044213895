"""From a source to the examples of a token data set, some rows at a time: tokenise or take over, up to M tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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
class Examples:
    """Some examples, and the rows of the source that they are made of.

    rows: in the order in which they are taken. source_rows: int64 [row], where in the source they stand.
    pieces: the examples; `piece.text` is an index into `rows`. empty: indices of rows that gave none. without_turns:
    conversations in which no message was found.
    """

    rows: list[Row]
    source_rows: np.ndarray
    pieces: list[Piece]
    empty: list[int] = field(default_factory=list)
    without_turns: int = 0

    def cut(self, tokens: int) -> bool:
        """Leave out all from the first example on that would take the sum beyond `tokens`. True if there was one."""
        ends = np.cumsum([len(piece.ids) for piece in self.pieces], dtype=np.int64)
        keep = int(np.searchsorted(ends, tokens, side="right"))
        if keep == len(self.pieces):
            return False
        last = self.pieces[keep].text
        self.pieces = self.pieces[:keep]
        self.empty = [row for row in self.empty if row < last]
        return True


def take_order(rows: int, seed: int | None) -> np.ndarray:
    """int64 [row]: the source's rows in the order in which they are taken.

    With a seed it is the order of `datasets.Dataset.shuffle(seed=seed)`.
    """
    return np.arange(rows) if seed is None else np.random.default_rng(seed).permutation(rows)


def up_to(examples: Iterable[Examples], max_tokens: int | None) -> Iterator[Examples]:
    """The examples in order, ended by the first that would take their sum beyond max_tokens; that one is left out."""
    left = max_tokens
    for some in examples:
        ended = left is not None and some.cut(left)
        if left is not None:
            left -= sum(len(piece.ids) for piece in some.pieces)
        yield some
        if ended:
            return


def tokenised(source: Table, order: np.ndarray, tokeniser: Tokeniser, settings: TokenSettings) -> Iterator[Examples]:
    """Examples of a source's text column. A null text has no tokens. Raises DatasetError for one that is no text."""
    for places, rows, numbers in _rows(source, order):
        texts = [_text(row.get(settings.text_column), settings, place) for place, row in zip(places, rows, strict=True)]
        yield _examples(rows, numbers, tokeniser.pieces(texts, settings))


def rendered(
    source: Table, order: np.ndarray, tokeniser: Tokeniser, template: ChatTemplate, settings: TokenSettings
) -> Iterator[Examples]:
    """Examples of a source's conversations. In the rows the messages have given way to the text made of them.

    Raises DatasetError, with the row, for what is no list of messages, or nothing that the template takes.
    """
    column = settings.column
    for places, rows, numbers in _rows(source, order):
        chats = [template.render(row.get(column), place) for place, row in zip(places, rows, strict=True)]
        rows = [{**row, column: chat.text} for row, chat in zip(rows, chats, strict=True)]
        examples = _examples(rows, numbers, chat_pieces(chats, tokeniser, settings))
        examples.without_turns = sum(bool(chat.text) and not chat.turns for chat in chats)
        yield examples


def taken_over(source: Table, order: np.ndarray) -> Iterator[Examples]:
    """Examples of a source that has `input_ids`; what its `attention_mask` hides is left out.

    Raises DatasetError for ids that are no whole numbers from 0 to 2^31 - 1, or a mask that does not fit.
    """
    for places, rows, numbers in _rows(source, order):
        pieces = []
        for i, (place, row) in enumerate(zip(places, rows, strict=True)):
            ids = _token_ids(row.get(IDS), place)
            if (mask := row.get(MASK)) is not None:
                ids = _unmasked(ids, np.array(mask), place)
            if len(ids):
                pieces.append(Piece(i, ids))
        yield _examples(rows, numbers, pieces)


def _rows(source: Table, order: np.ndarray) -> Iterator[tuple[list[str], list[Row], np.ndarray]]:
    """Some rows at a time: their places for errors, what they hold, and their numbers in the source."""
    for start in range(0, len(order), ROWS_AT_ONCE):
        numbers = order[start : start + ROWS_AT_ONCE]
        taken = source.take(numbers)
        yield [place for place, _ in taken], [row for _, row in taken], numbers


def _examples(rows: list[Row], numbers: np.ndarray, pieces: list[Piece]) -> Examples:
    kept = {piece.text for piece in pieces}
    return Examples(rows, numbers, pieces, [i for i in range(len(rows)) if i not in kept])


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

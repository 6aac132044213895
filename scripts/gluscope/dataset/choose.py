"""From a source to the examples of a token data set, some rows at a time: tokenise or take over, up to M tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gluscope.core.errors import DatasetError
from gluscope.dataset.chat import ChatTemplate, chat_pieces
from gluscope.dataset.reader import IDS, MASK
from gluscope.dataset.record import TokenSettings
from gluscope.dataset.table import Table
from gluscope.dataset.tokenise import Piece, Tokeniser

ROWS_AT_ONCE = 256


@dataclass
class Examples:
    """Some examples, made of the rows of one table of the source.

    table: pyarrow.Table, rows of the source in the order in which they are taken. source_rows: int64 [table row].
    pieces: the examples; `piece.text` is a row of `table`. empty: rows of `table` that gave none. without_turns:
    conversations in which no message was found.
    """

    table: Any
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
    """Examples of a source's text column. A null text has no tokens."""
    for table, rows in _tables(source, order):
        texts = table.column(settings.text_column).to_pylist()
        pieces = tokeniser.pieces(texts, settings)
        kept = {piece.text for piece in pieces}
        yield Examples(table, rows, pieces, [i for i in range(len(rows)) if i not in kept])


def rendered(
    source: Table, order: np.ndarray, tokeniser: Tokeniser, template: ChatTemplate, settings: TokenSettings, where: str
) -> Iterator[Examples]:
    """Examples of a source's conversations. In the tables the messages have given way to the text made of them.

    Raises DatasetError, with the row, for what is no list of messages, or nothing that the template takes.
    """
    import pyarrow as pa

    for table, rows in _tables(source, order):
        messages = table.column(settings.column).to_pylist()
        chats = [template.render(one, f"{where}, row {row}") for one, row in zip(messages, rows, strict=True)]
        at = table.schema.names.index(settings.column)
        table = table.set_column(at, settings.column, pa.array([chat.text for chat in chats], pa.string()))
        pieces = chat_pieces(chats, tokeniser, settings)
        kept = {piece.text for piece in pieces}
        empty = [i for i in range(len(rows)) if i not in kept]
        yield Examples(table, rows, pieces, empty, sum(bool(chat.text) and not chat.turns for chat in chats))


def taken_over(source: Table, order: np.ndarray, where: str) -> Iterator[Examples]:
    """Examples of a source that has `input_ids`; what its `attention_mask` hides is left out.

    Raises DatasetError for ids that are no whole numbers from 0 to 2^31 - 1, or a mask that does not fit.
    """
    for table, rows in _tables(source, order):
        pieces = []
        masks = table.column(MASK).to_pylist() if MASK in table.column_names else [None] * len(rows)
        for i, (ids, mask) in enumerate(zip(_id_rows(table, rows, where), masks, strict=True)):
            if mask is not None:
                ids = _unmasked(ids, np.asarray(mask), f"{where}, row {rows[i]}")
            if len(ids):
                pieces.append(Piece(i, ids))
        kept = {piece.text for piece in pieces}
        yield Examples(table, rows, pieces, [i for i in range(len(rows)) if i not in kept])


def _tables(source: Table, order: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
    for start in range(0, len(order), ROWS_AT_ONCE):
        rows = order[start : start + ROWS_AT_ONCE]
        yield source.take(rows), rows


def _id_rows(table: Any, rows: np.ndarray, where: str) -> Iterator[np.ndarray]:
    """int32 [token] of each row; a null row has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(IDS).combine_chunks()
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not (is_list and pa.types.is_integer(kind.value_type)):
        raise DatasetError(
            where, "lists of whole numbers in `input_ids`", str(kind), "tokenise it again, or drop the column"
        )
    flat = column.flatten()
    values = flat.to_numpy(zero_copy_only=False)
    ends = np.cumsum(pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False))
    wrong = (values < 0) | (values > np.iinfo(np.int32).max) if not flat.null_count else np.isnan(values)
    if wrong.any():
        at = int(np.argmax(wrong))
        row, found = rows[np.searchsorted(ends, at, side="right")], flat[at].as_py()
        raise DatasetError(f"{where}, row {row}", "token ids from 0 to 2147483647", str(found), "tokenise it again")
    return iter(np.split(values.astype(np.int32), ends[:-1]))


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

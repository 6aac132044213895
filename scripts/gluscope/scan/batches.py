"""Batches of texts for forward passes, by length and by a budget of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gluscope.dataset.reader import TokenDataset

# Share of a batch that may be padding. A CPU is as fast with one text at a time, so there none is computed.
PADDING = {"cpu": 0.0, "cuda": 0.05}
# Computed tokens below which padding costs less than another pass: an H100 takes 14 ms to be told of a 7B model's pass,
# with the statistics 35, in which it could compute 400 or 1100 tokens.
FREELY = 2048


@dataclass(frozen=True)
class TokenBatch:
    """Some texts that go through the model together.

    rows: int64 [example], in the token data set. lengths: int64 [example], real tokens of each.
    input_ids: int64 [example, position], padded on the right with 0 where lengths differ.
    """

    rows: np.ndarray
    lengths: np.ndarray
    input_ids: np.ndarray

    @property
    def tokens(self) -> int:
        """Real tokens, without padding."""
        return int(self.lengths.sum())

    @property
    def padded(self) -> bool:
        return bool((self.lengths != self.input_ids.shape[1]).any())

    def halves(self) -> tuple[TokenBatch, TokenBatch]:
        """The same texts in two batches, in the same order; for a batch that does not fit into memory."""
        middle = (len(self.rows) + 1) // 2
        parts = (slice(0, middle), slice(middle, None))
        first, second = (
            TokenBatch(self.rows[part], self.lengths[part], self.input_ids[part, : self.lengths[part].max(initial=0)])
            for part in parts
        )
        return first, second


def processing_order(lengths: np.ndarray, copies: np.ndarray | None = None) -> np.ndarray:
    """int64 [example]: places sorted by length, longest first, then by place; copies (bool [example]) after all others.

    It does not depend on how batches are cut. The longest come first so that what does not fit shows at once.
    """
    last = np.zeros(len(lengths), bool) if copies is None else copies
    return np.lexsort((np.arange(len(lengths)), -np.asarray(lengths), last))


def make_batches(
    lengths: np.ndarray,
    max_tokens: int,
    allow_padding: float = 0.0,
    copies: np.ndarray | None = None,
    alone_beyond: int | None = None,
) -> list[np.ndarray]:
    """Cut texts into batches; one after another they are `processing_order`.

    lengths: int64 [example], each at least 1. max_tokens: computed tokens of a batch, padding included; a longer text
    is a batch of its own. allow_padding: largest share of a batch of more than FREELY tokens that may be padding; with
    0 only texts of equal length share one, whatever its size. copies: bool [example]; no batch holds some of them and
    others. alone_beyond: texts of more tokens share one with texts of equal length alone (`GatedModel`).
    """
    order = processing_order(lengths, copies)
    border = len(order) if copies is None else len(order) - int(copies.sum())
    batches: list[np.ndarray] = []
    begin = real = 0
    for end, place in enumerate(order):
        width, real = int(lengths[order[begin]]), real + int(lengths[place])
        computed = width * (end - begin + 1)
        allowed = 0.0 if alone_beyond is not None and width > alone_beyond else allow_padding
        free = allowed > 0 and computed <= FREELY
        too_loose = not free and computed - real > allowed * computed
        if end > begin and (computed > max_tokens or too_loose or end == border):
            batches.append(order[begin:end])
            begin, real = end, int(lengths[place])
    if len(order):
        batches.append(order[begin:])
    return batches


def read_batches(
    data: TokenDataset,
    rows: np.ndarray,
    lengths: np.ndarray,
    max_tokens: int,
    padding: float,
    copies: np.ndarray | None = None,
    alone_beyond: int | None = None,
) -> Iterator[TokenBatch]:
    """Texts of a token data set as `make_batches` cuts them. rows, lengths: int64 [example], ascending rows."""
    for places in make_batches(lengths, max_tokens, padding, copies, alone_beyond):
        ids = np.zeros((len(places), lengths[places].max()), np.int64)
        for i, place in enumerate(places):
            ids[i, : lengths[place]] = data.input_ids(int(rows[place]))
        yield TokenBatch(rows[places], lengths[places], ids)

"""Batches of texts for forward passes, by length and by a budget of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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


def processing_order(lengths: np.ndarray) -> np.ndarray:
    """int64 [example]: places sorted by length, longest first, then by place.

    It does not depend on how batches are cut. The longest come first so that what does not fit shows at once.
    """
    return np.lexsort((np.arange(len(lengths)), -np.asarray(lengths)))


def make_batches(lengths: np.ndarray, max_tokens: int, allow_padding: float = 0.0) -> list[np.ndarray]:
    """Cut texts into batches; one after another they are `processing_order`.

    lengths: int64 [example], each at least 1. max_tokens: computed tokens of a batch, padding included; a longer text
    is a batch of its own. allow_padding: largest share of a batch that may be padding; with 0 only texts of equal
    length share one.
    """
    order = processing_order(lengths)
    batches: list[np.ndarray] = []
    begin = real = 0
    for end, place in enumerate(order):
        width, real = int(lengths[order[begin]]), real + int(lengths[place])
        computed = width * (end - begin + 1)
        if end > begin and (computed > max_tokens or computed - real > allow_padding * computed):
            batches.append(order[begin:end])
            begin, real = end, int(lengths[place])
    if len(order):
        batches.append(order[begin:])
    return batches

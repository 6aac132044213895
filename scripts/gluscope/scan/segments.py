"""How the GPU reduction cuts a batch: texts into segments, segments into splits, splits into launches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MOST_LAUNCHED = 256  # segments of a launch: what bounds the scratch memory, where texts are short


@dataclass(frozen=True)
class Launch:
    """Segments that are reduced together.

    segments: int64 [segment, 4]: first token, tokens, position of the first in its text, row of the text.
    splits: int64 [split + 1], its first segment.
    """

    segments: np.ndarray
    splits: np.ndarray


def launches(
    rows: np.ndarray, begins: np.ndarray, lengths: np.ndarray, segment_tokens: int, most_segments: int
) -> Iterator[Launch]:
    """Every token of every text once, in order.

    rows, begins, lengths: int64 [example]; begins: the texts' first tokens. segment_tokens: most tokens of a segment.
    most_segments: of a split.
    """
    pieces = -(-lengths // segment_tokens)
    text = np.repeat(np.arange(len(lengths)), pieces)
    position = (np.arange(len(text)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) * segment_tokens
    tokens = np.minimum(segment_tokens, lengths[text] - position)
    table = np.stack([begins[text] + position, tokens, position, rows[text]], 1).astype(np.int64)
    # Long splits write few partial sums; a GPU wants many. 16 of them, times blocks of neurons, are enough.
    wanted = min(1024, max(segment_tokens, int(lengths.sum()) // 16))
    for low in range(0, len(table), MOST_LAUNCHED):
        part = table[low : low + MOST_LAUNCHED]
        yield Launch(part, _splits(part[:, 1], wanted, most_segments))


def _splits(tokens: np.ndarray, wanted: int, most_segments: int) -> np.ndarray:
    """Borders between splits: `wanted` tokens each, never more, but at least a segment."""
    borders, own = [0], 0
    for segment, number in enumerate(tokens.tolist()):
        if segment > borders[-1] and (own + number > wanted or segment - borders[-1] == most_segments):
            borders.append(segment)
            own = 0
        own += number
    return np.array([*borders, len(tokens)], np.int64)

"""How the GPU reduction cuts a batch: texts into segments, segments into splits, splits into launches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MOST_LAUNCHED = 256  # segments of a launch: what bounds the scratch memory, where texts are short
LEAST_SPLIT, MOST_SPLIT = 64, 4096  # tokens: below, starting costs more than it brings; above, float32 sums are long


@dataclass(frozen=True)
class Launch:
    """Segments that are reduced together.

    segments: int64 [segment, 4]: first token, tokens, position of the first in its text, row of the text.
    splits: int64 [split + 1], its first segment.
    """

    segments: np.ndarray
    splits: np.ndarray


def whole_waves(blocks: int, slots: int) -> int:
    """Splits of a batch such that `blocks` programs for each fill a device that runs `slots` of them at a time.

    The last wave of programs should not leave most of the device idle: of one, two or three waves the best filled.
    """
    filled = {max(1, waves * slots // blocks): 0.0 for waves in (3, 2, 1)}
    for splits in filled:
        waves = -(-splits * blocks // slots)
        filled[splits] = round(splits * blocks / (waves * slots), 1)
    return min(filled, key=lambda splits: (-filled[splits], splits))


def launches(
    rows: np.ndarray, begins: np.ndarray, lengths: np.ndarray, segment_tokens: int, most_segments: int, n_splits: int
) -> Iterator[Launch]:
    """Every token of every text once, in order.

    rows, begins, lengths: int64 [example]; begins: the texts' first tokens. segment_tokens: most tokens of a segment.
    most_segments: of a split. n_splits: wanted of all launches; texts are cut so that these are of equal size.
    """
    total = int(lengths.sum())
    split_tokens = min(MOST_SPLIT, max(LEAST_SPLIT, -(-total // n_splits)))
    table, split = _cut(rows, begins, lengths, segment_tokens, split_tokens)
    for low in range(0, len(table), MOST_LAUNCHED):
        part = slice(low, low + MOST_LAUNCHED)
        yield Launch(table[part], _borders(split[part], most_segments))


def _cut(
    rows: np.ndarray, begins: np.ndarray, lengths: np.ndarray, segment_tokens: int, split_tokens: int
) -> tuple[np.ndarray, np.ndarray]:
    """Segments as in `Launch`, and each one's split; cuts are at texts' ends, splits' ends and, within, by size."""
    ends = np.cumsum(lengths)
    starts, total = ends - lengths, int(lengths.sum())
    cuts = np.unique(np.concatenate([starts[lengths > 0], np.arange(0, total, split_tokens)]))
    pieces = -(-np.diff(cuts, append=total) // segment_tokens)
    inner = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = np.repeat(cuts, pieces) + inner * segment_tokens
    tokens = np.diff(first, append=total)
    text = np.searchsorted(ends, first, side="right")
    position = first - starts[text]
    table = np.stack([begins[text] + position, tokens, position, rows[text]], 1)
    return table.astype(np.int64), first // split_tokens


def _borders(split: np.ndarray, most_segments: int) -> np.ndarray:
    """First segments of splits and the last one's end; none has more than `most_segments`."""
    borders = [0]
    for segment in range(1, len(split)):
        if split[segment] != split[segment - 1] or segment - borders[-1] == most_segments:
            borders.append(segment)
    return np.array([*borders, len(split)], np.int64)

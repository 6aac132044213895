"""Where in its text an extreme lies, for statistics that name texts alone (published activation data)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gluscope.core.activation import Activation
from gluscope.core.cases import LISTS, QUANTITIES
from gluscope.recompute.types import Recomputed
from gluscope.summary.types import EMPTY_EXAMPLE, EMPTY_POSITION, EMPTY_VALUE, LayerSummary


def with_positions(neuron: LayerSummary, found: Recomputed, act: Activation) -> LayerSummary:
    """A neuron's statistics with every unknown position found: the first token of the case with the largest |value|.

    neuron: 1 neuron; a place with an example and position -1 is unknown. found: has all its examples,
    in the same convention. A text without a token in the case leaves its place unfilled, at the end of the list.
    Statistics with all their positions are returned as they are.
    """
    unknown = (neuron.extreme_example >= 0) & (neuron.extreme_position < 0)
    if not unknown.any():
        return neuron
    value, example, position = (
        getattr(neuron, name).copy() for name in ("extreme_value", "extreme_example", "extreme_position")
    )
    ends = np.cumsum(found.lengths)
    texts = {
        int(row): slice(int(end - n), int(end)) for row, end, n in zip(found.rows, ends, found.lengths, strict=True)
    }
    sizes = {quantity: np.abs(quantity.of(found.gate, found.in_, act)) for quantity in QUANTITIES}
    for case, quantity in LISTS:
        at = (0, case.index, quantity.index)
        inside = case.holds(found.gate, found.in_)
        for place in np.flatnonzero(unknown[at]).tolist():
            text = texts.get(int(example[at][place]))
            if text is None or not inside[text].any():
                value[at][place], example[at][place] = EMPTY_VALUE, EMPTY_EXAMPLE
            else:
                position[at][place] = int(np.argmax(np.where(inside[text], sizes[quantity][text], -1)))
        order = np.argsort(example[at] < 0, kind="stable")
        for array in (value, example, position):
            array[at] = array[at][order]
    position[example < 0] = EMPTY_POSITION
    return replace(neuron, extreme_value=value, extreme_example=example, extreme_position=position)

"""How far the extreme lists of two runs agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gluscope.compare.spread import Spread
from gluscope.core.cases import LISTS, Quantity, SignCase
from gluscope.summary.types import LayerSummary

_PAIRS = 2**22  # pairs of entries that are looked at together


@dataclass
class ListAgreement:
    """Agreement of one kind of list (a case and a quantity) over some neurons.

    entries: filled places of the reference's lists. changed: those whose text the other's list lacks. lists: that have
    an entry; first_changed: those whose first text differs. moved: |other - reference| / |reference| of the texts in
    both. margin: of the changed entries, by how much they exceeded the least of the other's list (as a share of the
    entry's value): what is small was exchanged with an entry about as extreme.
    """

    entries: int = 0
    changed: int = 0
    lists: int = 0
    first_changed: int = 0
    moved: Spread = field(default_factory=Spread)
    margin: Spread = field(default_factory=Spread)

    def add(self, reference: LayerSummary, other: LayerSummary, case: SignCase, quantity: Quantity) -> np.ndarray:
        """Count some neurons in. Both with the same k. Returns int64 [neuron, 2]: their entries, and those changed."""
        place = (slice(None), case.index, quantity.index)
        step = max(1, _PAIRS // max(1, reference.k) ** 2)
        found = [np.zeros((0, 2), np.int64)]
        for begin in range(0, reference.neurons, step):
            part = slice(begin, begin + step)
            rows = [one.extreme_example[place][part] for one in (reference, other)]
            values = [one.extreme_value[place][part].astype(np.float64) for one in (reference, other)]
            found.append(self._add(*rows, *values))
        return np.concatenate(found)

    def _add(self, row: np.ndarray, other_row: np.ndarray, value: np.ndarray, other_value: np.ndarray) -> np.ndarray:
        filled = row >= 0
        same = (row[:, :, None] == other_row[:, None, :]) & filled[:, :, None]
        kept = same.any(-1)
        changed = filled & ~kept
        at_other = np.take_along_axis(other_value, same.argmax(-1), -1)
        known = kept & (value != 0)  # an act may round to 0 where the gate is far below it
        self.moved.add(np.abs(at_other - value)[known] / np.abs(value)[known])
        # A list that is not full has no least entry: then nothing was pushed out, a sign changed.
        full = (other_row >= 0).all(-1, keepdims=True) & changed & (value != 0)
        least = np.broadcast_to(np.abs(other_value[:, -1:]), value.shape)
        self.margin.add(np.maximum(0.0, 1.0 - least[full] / np.abs(value)[full]))
        self.entries += int(filled.sum())
        self.changed += int(changed.sum())
        self.lists += int(filled[:, 0].sum())
        self.first_changed += int((filled[:, 0] & (row[:, 0] != other_row[:, 0])).sum())
        return np.stack([filled.sum(-1), changed.sum(-1)], axis=-1)

    def as_json(self) -> dict[str, Any]:
        return {
            "entries": self.entries,
            "changed_share": share(self.changed, self.entries),
            "first_changed_share": share(self.first_changed, self.lists),
            "moved": self.moved.as_json(),
            "margin": self.margin.as_json(),
        }


def share(part: float, whole: float) -> float | None:
    """part / whole; None of nothing."""
    return part / whole if whole else None


def agreements() -> dict[tuple[SignCase, Quantity], ListAgreement]:
    """One for each list of a neuron."""
    return {one: ListAgreement() for one in LISTS}

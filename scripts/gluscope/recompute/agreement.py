"""Do recomputed values agree with those that the scan listed? For the page's footer, and to catch mixed-up files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gluscope.core.activation import Activation
from gluscope.core.cases import LISTS, Quantity, SignCase
from gluscope.core.errors import StoreError
from gluscope.core.precision import UNIT_ROUNDOFF
from gluscope.recompute.types import Recomputed
from gluscope.summary.types import LayerSummary


@dataclass(frozen=True)
class Agreement:
    """Listed and recomputed values, compared at every place of a neuron's lists.

    absolute: the largest difference, in activation units. relative: the largest share of the listed value that a
    difference is. worst: where `absolute` is, (case, quantity, row, position); None if nothing is listed.
    """

    compared: int
    absolute: float
    relative: float
    worst: tuple[SignCase, Quantity, int, int] | None


def agreement(summary: LayerSummary, found: Recomputed, act: Activation, dtype: str) -> Agreement:
    """Compare a neuron's lists with its recomputed values.

    summary: 1 neuron, raw convention. dtype: of the scan's forward pass. Raises StoreError, which names the neuron,
    where the two differ by more than number formats explain (`recompute.diagnosis` says what may be behind it).
    """
    compared, absolute, relative = 0, 0.0, 0.0
    worst: tuple[SignCase, Quantity, int, int] | None = None
    for case, quantity in LISTS:
        at = (0, case.index, quantity.index)
        filled = summary.extreme_example[at] >= 0
        rows, positions = summary.extreme_example[at][filled], summary.extreme_position[at][filled]
        if not len(rows):
            continue
        listed = summary.extreme_value[at][filled].astype(np.float64)
        gate, in_ = found.values(*_tokens(found, rows, positions))
        value = quantity.of(gate, in_, lambda values: act(values).astype(np.float64))
        difference = np.abs(listed - value)
        i = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
        bad = np.flatnonzero(~(difference <= _explained(quantity, gate, in_, found, act, dtype)))
        if len(bad):
            i = int(bad[0])
            expected = f"{listed[i]:.4g} for {case.value} {quantity.value}"
            raise _apart(found, expected, f"{value[i]:.4g}", rows[i], positions[i])
        compared += len(rows)
        relative = max(relative, float((difference / np.maximum(np.abs(listed), 1e-30)).max()))
        if worst is None or difference[i] > absolute:
            absolute, worst = float(difference[i]), (case, quantity, int(rows[i]), int(positions[i]))
    return Agreement(compared, absolute, relative, worst)


def _tokens(found: Recomputed, rows: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and positions again, if all of them were recomputed."""
    for row, position in zip(rows.tolist(), positions.tolist(), strict=True):
        if not found.has(row, position):
            raise _apart(found, "a token that the neuron's lists name", "none", row, position)
    return rows, positions


def _explained(
    quantity: Quantity, gate: np.ndarray, in_: np.ndarray, found: Recomputed, act: Activation, dtype: str
) -> np.ndarray:
    """The largest differences that rounding explains, with room.

    x, rounded by a format of unit roundoff u, changes gate by at most u |x| |w_gate| <= u gate_bound (Cauchy and
    Schwarz). The scan's own format enters as often: in the product, and in what the layers before made of it. So
    twice the sum of the two, and never less than float16's, which leaves room for the forward pass of another batch
    shape or device. act and post then lie between what gate and in at their ends give, and are rounded once more.
    """
    u = 2 * (max(UNIT_ROUNDOFF[found.dtype], UNIT_ROUNDOFF["float16"]) + UNIT_ROUNDOFF[dtype])
    gate_error, in_error = u * found.gate_bound, u * found.in_bound
    if quantity is Quantity.GATE:
        return np.full(gate.shape, gate_error)
    if quantity is Quantity.IN:
        return np.full(gate.shape, in_error)
    here = act(gate).astype(np.float64)
    act_error = np.maximum(*(np.abs(act(gate + move) - here) for move in (gate_error, -gate_error)))
    act_error = act_error + u * np.abs(here) + 1e-6 * gate_error
    if quantity is Quantity.ACT:
        return np.asarray(act_error)
    assert quantity is Quantity.POST
    return np.asarray(act_error * (np.abs(in_) + in_error) + np.abs(here) * in_error + u * np.abs(here * in_))


def _apart(found: Recomputed, expected: str, value: str, row: int, position: int) -> StoreError:
    where = f"{found.id} from the {found.source}, text {row}, token {position}"
    return StoreError(where, expected, value, "run the same command again")

"""The refactored sign convention, derived from the raw one and back."""

from __future__ import annotations

import numpy as np

from gluscope.core.cases import CASES, Quantity
from gluscope.summary.types import LayerSummary

_NEGATED = [Quantity.IN.index, Quantity.POST.index]
_FLIPPED = [case.flipped.index for case in CASES]


def refactor(summary: LayerSummary, sign: np.ndarray) -> LayerSummary:
    """The same statistics with w_in and w_out negated for every neuron whose `sign` is -1.

    sign: int8 [neuron]. In and post change sign and the in+ and in- cases swap; applied twice it changes nothing.
    """
    flip = np.asarray(sign) < 0
    fields = {name: getattr(summary, name).copy() for name in summary.__dataclass_fields__}
    for name in ("count", "sum", "extreme_value", "extreme_example", "extreme_position"):
        fields[name][flip] = fields[name][flip][:, _FLIPPED]
    for name in ("sum", "extreme_value"):
        negated = fields[name][flip]
        negated[:, :, _NEGATED] *= -1
        fields[name][flip] = negated + 0.0  # no -0.0 for empty cases
    fields["sample_in"][flip] *= -1
    return LayerSummary(**fields)

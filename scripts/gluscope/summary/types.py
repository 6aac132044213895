"""What a scan finds out about one layer, or one neuron, over a set of texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gluscope.core.cases import CASES, QUANTITIES

# Fields of a LayerSummary by how those of disjoint texts are joined: added up, or merged with one another.
ADDED = ("count", "sum")
LISTED = ("extreme_value", "extreme_example", "extreme_position")
SAMPLED = ("sample_gate", "sample_in")  # each text has its own
_SIGNED = ("sum", "extreme_value")  # that have a quantity's sign
_TURNED = [quantity.index for quantity in QUANTITIES if quantity.is_turned]
_FLIPPED = [case.flipped.index for case in CASES]
EMPTY_VALUE, EMPTY_EXAMPLE, EMPTY_POSITION = np.float32("nan"), -1, -1


@dataclass
class LayerSummary:
    """Statistics of all neurons of one layer over some examples.

    count: int64 [neuron, case], tokens.
    sum: float64 [neuron, case, quantity], activation units.
    extreme_value: float32 [neuron, case, quantity, k], signed, by |value| descending; NaN = unfilled.
    extreme_example: int64 [neuron, case, quantity, k], row in the token data set; -1 = unfilled.
    extreme_position: int32 [neuron, case, quantity, k], first token that attains the value; -1 = unfilled.
    sample_gate, sample_in: float16 [neuron, sample], at the tokens that the summary's sample coordinates name.

    Ties: the lower row wins. act's lists in gate+ cases stay unfilled (they are the gate's).
    """

    count: np.ndarray
    sum: np.ndarray
    extreme_value: np.ndarray
    extreme_example: np.ndarray
    extreme_position: np.ndarray
    sample_gate: np.ndarray
    sample_in: np.ndarray

    @classmethod
    def empty(cls, neurons: int, k: int, samples: int = 0) -> LayerSummary:
        """The summary of no texts."""
        lists = (neurons, len(CASES), len(QUANTITIES), k)
        return cls(
            count=np.zeros(lists[:2], np.int64),
            sum=np.zeros(lists[:3], np.float64),
            extreme_value=np.full(lists, EMPTY_VALUE, np.float32),
            extreme_example=np.full(lists, EMPTY_EXAMPLE, np.int64),
            extreme_position=np.full(lists, EMPTY_POSITION, np.int32),
            sample_gate=np.zeros((neurons, samples), np.float16),
            sample_in=np.zeros((neurons, samples), np.float16),
        )

    @property
    def neurons(self) -> int:
        return int(self.count.shape[0])

    @property
    def k(self) -> int:
        return int(self.extreme_value.shape[-1])

    def neuron(self, index: int) -> LayerSummary:
        """The same for one neuron; the neuron axis stays, with length 1."""
        part = slice(index, index + 1)
        return LayerSummary(**{name: getattr(self, name)[part] for name in self.__dataclass_fields__})

    def turned(self, flip: np.ndarray) -> LayerSummary:
        """With w_in and w_out negated for some neurons (bool [neuron]); see `core.convention`."""
        fields = {name: getattr(self, name).copy() for name in self.__dataclass_fields__}
        for name in (*ADDED, *LISTED):
            fields[name][flip] = fields[name][flip][:, _FLIPPED]
        for name in _SIGNED:
            part = fields[name][flip]
            part[:, :, _TURNED] *= -1
            fields[name][flip] = part + 0.0  # no -0.0 for empty cases
        fields["sample_in"][flip] *= -1
        return LayerSummary(**fields)


@dataclass
class SampleTokens:
    """The tokens at which every neuron's gate and in are kept.

    example: int64 [sample], row in the token data set; position: int32 [sample]. Sorted by (example, position).
    """

    example: np.ndarray
    position: np.ndarray

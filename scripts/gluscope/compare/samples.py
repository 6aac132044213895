"""How far two runs agree at the sampled tokens, which are the same where data set, seed and number are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gluscope.compare.lists import share
from gluscope.compare.spread import Spread
from gluscope.core.half import from_float16
from gluscope.summary.types import LayerSummary

_NEURONS = 512  # looked at together


@dataclass
class SampleAgreement:
    """Agreement of gate and in of all neurons at the sampled tokens.

    values: pairs of gates, and of ins. moved: |other - reference| in units of the neuron's root mean square of that
    quantity. signs: of those with another sign, and at_sign: how large they were in the reference, in the same unit.
    correlation: Pearson's, of each neuron's gate and in over the tokens; 1 - it is kept.
    Samples are stored as float16: differences below 5e-4 of a value are not seen.

    In a mixture of experts a token and a neuron are compared where the token reaches the neuron's expert in both runs.
    elsewhere: pairs of them that do in the reference alone, of `routed` in the reference; None in a dense model.
    """

    values: int = 0
    signs: int = 0
    elsewhere: int | None = None
    routed: int = 0
    moved: Spread = field(default_factory=Spread)
    at_sign: Spread = field(default_factory=Spread)
    decorrelation: dict[str, Spread] = field(default_factory=lambda: {"gate": Spread(), "in": Spread()})

    def add(self, reference: LayerSummary, other: LayerSummary) -> np.ndarray:
        """Count a layer in. Returns float64 [neuron, 2]: correlations of gate and in; NaN where one is constant."""
        found = np.full((reference.neurons, 2), np.nan)
        if self.elsewhere is not None:
            reach, other_reach = (~np.isnan(one.sample_gate) for one in (reference, other))
            self.elsewhere += int((reach & ~other_reach).sum())
            self.routed += int(reach.sum())
        for place, name in enumerate(("gate", "in")):
            left, right = (getattr(one, f"sample_{name}") for one in (reference, other))
            for begin in range(0, reference.neurons, _NEURONS):
                part = slice(begin, begin + _NEURONS)
                found[part, place] = self._add(left[part], right[part])
            known = found[:, place][~np.isnan(found[:, place])]
            self.decorrelation[name].add(np.maximum(0.0, 1.0 - known))
        return found

    def _add(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """left, right: float16 [neuron, sample], NaN where a token does not reach a neuron's expert."""
        both = ~(np.isnan(left) | np.isnan(right))
        if both.all():
            return self._compare(from_float16(left), from_float16(right))
        # Neurons of one expert have the same tokens: those of each are compared together.
        found = np.full(len(left), np.nan)
        begins = np.flatnonzero(np.concatenate([[True], (both[1:] != both[:-1]).any(-1)]))
        for begin, end in zip(begins, [*begins[1:], len(left)], strict=True):
            if (there := both[begin]).any():
                parts = (from_float16(np.ascontiguousarray(one[begin:end, there])) for one in (left, right))
                found[begin:end] = self._compare(*parts)
        return found

    def _compare(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        unit = np.sqrt((left.astype(np.float64) ** 2).mean(-1, keepdims=True))
        scaled = np.abs(left) / np.where(unit > 0, unit, 1.0)
        self.moved.add(np.abs(right - left) / np.where(unit > 0, unit, 1.0))
        changed = np.sign(left) != np.sign(right)
        self.at_sign.add(scaled[changed])
        self.values += left.size
        self.signs += int(changed.sum())
        centred = [one - one.mean(-1, keepdims=True, dtype=np.float64) for one in (left, right)]
        lengths = np.sqrt((centred[0] ** 2).sum(-1) * (centred[1] ** 2).sum(-1))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((centred[0] * centred[1]).sum(-1) / lengths)

    def as_json(self) -> dict[str, Any]:
        return {
            "values": self.values,
            "moved": self.moved.as_json(),
            "sign_changed_share": share(self.signs, self.values),
            "size_where_sign_changed": self.at_sign.as_json(),
            "one_minus_correlation": {name: spread.as_json() for name, spread in self.decorrelation.items()},
            **({} if self.elsewhere is None else {"routed_elsewhere_share": share(self.elsewhere, self.routed)}),
        }

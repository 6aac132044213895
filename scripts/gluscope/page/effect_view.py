"""What a page shows of a neuron's measured effect: means over examples, with texts for token ids."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gluscope.core.cases import CASES
from gluscope.effect.types import ENDS, GROUPS, SCOPES, Effect, mean_and_spread
from gluscope.page.tokens import TokenTexts

Spread = tuple[float, float, int]  # mean, standard deviation over the examples, examples


@dataclass(frozen=True)
class Measured:
    """A case's effect in one scope and group.

    change: of the log-probability of the token that follows, in nats; None where no example has one. kl: in nats.
    raised, lowered: (text, mean change of its log-probability). signs, overlap: agreement with the weights, shares.
    """

    change: Spread | None
    kl: Spread
    raised: tuple[tuple[str, float], ...]
    lowered: tuple[tuple[str, float], ...]
    signs: float | None
    overlap: float | None


@dataclass(frozen=True)
class EffectView:
    """cases: by case, scope and group; without what has no examples. dtype: of the forward passes."""

    dtype: str
    cases: dict[str, dict[str, dict[str, Measured]]]

    def turned(self, flip: np.ndarray) -> EffectView:
        """With w_in and w_out negated; see `core.convention`."""
        return replace(self, cases={case.value: self.cases[case.flipped.value] for case in CASES})


def effect_view(effect: Effect, texts: TokenTexts) -> EffectView:
    """In the raw convention."""
    cases = {
        case.value: {
            scope: {
                group: _measured(effect, (at, case.index, number), texts)
                for number, group in enumerate(GROUPS)
                if (effect.row[case.index, number] >= 0).any()
            }
            for at, scope in enumerate(SCOPES)
        }
        for case in CASES
    }
    return EffectView(effect.dtype, cases)


def _measured(effect: Effect, at: tuple[int, int, int], texts: TokenTexts) -> Measured:
    kl = mean_and_spread(effect.kl[at])
    assert kl is not None
    raised, lowered = [
        tuple(
            (texts.token(int(token)).text, float(change))
            for token, change in zip(effect.token[(*at, end)], effect.token_change[(*at, end)], strict=True)
            if token >= 0
        )
        for end in range(len(ENDS))
    ]
    signs, overlap = (None if np.isnan(share[at]) else float(share[at]) for share in (effect.signs, effect.overlap))
    return Measured(mean_and_spread(effect.change[at]), kl, raised, lowered, signs, overlap)

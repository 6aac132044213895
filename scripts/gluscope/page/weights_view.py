"""What a page shows of a neuron's weights: the weights stage's record with texts for token ids, in both conventions."""

from __future__ import annotations

from dataclasses import dataclass

from gluscope.page.tokens import TokenTexts
from gluscope.weights.types import (
    COSINES,
    QUANTILES,
    VECTORS,
    Cosine,
    NeuronWeights,
    TokenEnds,
    Vector,
)

_BAND = QUANTILES.index(0.025), QUANTILES.index(0.975)


@dataclass(frozen=True)
class CosineView:
    """A cosine, and the ranges that hold 95 % of the layer's mismatched pairs (band) and of random directions."""

    value: float
    band: tuple[float, float]
    random: tuple[float, float]


@dataclass(frozen=True)
class VectorView:
    """A weight vector: its norm, the share of the layer's neurons with a smaller one, and its tokens.

    top, bottom: (text, score) of the tokens with the highest and the lowest scores: read by w_gate and w_in, written
    by w_out.
    """

    norm: float
    quantile: float
    top: tuple[tuple[str, float], ...]
    bottom: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class WeightsView:
    """A neuron's weights in one convention. Keys: "in,out", "gate,out", "gate,in"; "gate", "in", "out".

    nearest: (layer, neuron, cosine of the two w_out).
    """

    rw_class: str
    cosines: dict[str, CosineView]
    vectors: dict[str, VectorView]
    nearest: tuple[tuple[int, int, float], ...]


def weights_views(weights: NeuronWeights, texts: TokenTexts) -> dict[str, WeightsView]:
    """What to show, by convention. `weights`: in the raw convention."""
    return {"raw": _view(weights, texts), "refactored": _view(weights.refactored, texts)}


def _view(weights: NeuronWeights, texts: TokenTexts) -> WeightsView:
    random = weights.chance_random[_BAND[0]], weights.chance_random[_BAND[1]]
    return WeightsView(
        rw_class=weights.rw_class.label,
        cosines={
            _pair(kind): CosineView(
                weights.cosine[kind], (weights.chance[kind][_BAND[0]], weights.chance[kind][_BAND[1]]), random
            )
            for kind in COSINES
        },
        vectors={
            _name(vector): VectorView(
                weights.norm[vector], weights.norm_quantile[vector], *_texts(weights.tokens[vector], texts)
            )
            for vector in VECTORS
        },
        nearest=tuple((other.layer, other.neuron, other.cosine) for other in weights.nearest),
    )


def _texts(ends: TokenEnds, texts: TokenTexts) -> list[tuple[tuple[str, float], ...]]:
    return [tuple((texts.token(one.token).text, one.score) for one in end) for end in (ends.top, ends.bottom)]


def _name(vector: Vector) -> str:
    return vector.value.removeprefix("w_")


def _pair(kind: Cosine) -> str:
    return ",".join(map(_name, kind.vectors))

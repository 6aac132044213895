"""What a page shows of a neuron's weights: the weights stage's record with texts for token ids, in both conventions."""

from __future__ import annotations

from dataclasses import dataclass

from gluscope.core.neuron import NeuronId
from gluscope.core.size import Size
from gluscope.page.tokens import TokenTexts
from gluscope.weights.types import (
    COSINES,
    QUANTILES,
    VECTORS,
    Cosine,
    NearNeuron,
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

    nearest: (layer, neuron, cosine of the two w_out), and behind it the other's expert if it is in one. router: cosines
    of "gate", "in" and "out" with the expert's row of the router; None for a neuron of no routed expert.
    """

    rw_class: str
    cosines: dict[str, CosineView]
    vectors: dict[str, VectorView]
    nearest: tuple[tuple[int, int, float] | tuple[int, int, float, str], ...]
    router: dict[str, float] | None = None


def weights_views(weights: NeuronWeights, texts: TokenTexts, size: Size | None = None) -> dict[str, WeightsView]:
    """What to show, by convention. `weights`: in the raw convention. size: of a model with experts."""
    return {"raw": _view(weights, texts, size), "refactored": _view(weights.refactored, texts, size)}


def _view(weights: NeuronWeights, texts: TokenTexts, size: Size | None) -> WeightsView:
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
        nearest=tuple(_near(other, size) for other in weights.nearest),
        router=None if weights.router is None else {_name(vector): c for vector, c in weights.router.items()},
    )


def _near(other: NearNeuron, size: Size | None) -> tuple[int, int, float] | tuple[int, int, float, str]:
    name = size.neuron(other.layer, other.neuron) if size else NeuronId(other.layer, other.neuron)
    if name.expert:
        return name.layer, name.neuron, other.cosine, name.expert
    return name.layer, name.neuron, other.cosine


def _texts(ends: TokenEnds, texts: TokenTexts) -> list[tuple[tuple[str, float], ...]]:
    return [tuple((texts.token(one.token).text, one.score) for one in end) for end in (ends.top, ends.bottom)]


def _name(vector: Vector) -> str:
    return vector.value.removeprefix("w_")


def _pair(kind: Cosine) -> str:
    return ",".join(map(_name, kind.vectors))

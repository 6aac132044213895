"""What the weights stage finds out. Imports numpy alone: pages read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from gluscope.core.convention import negated
from gluscope.core.schema import WEIGHTS
from gluscope.weights.classes import RW_CLASSES, RWClass

TOKENS, NEAREST = 10, 5  # tokens at either end of a list, and nearest neurons, that are kept
QUANTILES = (0.005, 0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975, 0.995)  # of chance cosines


class Vector(Enum):
    """The weight vectors of a neuron, in stored order."""

    GATE = "w_gate"
    IN = "w_in"
    OUT = "w_out"

    @property
    def index(self) -> int:
        return VECTORS.index(self)


class Cosine(Enum):
    """The pairs of vectors whose cosines are kept, in stored order."""

    IN_OUT = "cos(w_in,w_out)"
    GATE_OUT = "cos(w_gate,w_out)"
    GATE_IN = "cos(w_gate,w_in)"

    @property
    def index(self) -> int:
        return COSINES.index(self)

    @property
    def vectors(self) -> tuple[Vector, Vector]:
        """The two vectors, in the name's order."""
        return _PAIRS[self]


VECTORS: tuple[Vector, ...] = tuple(Vector)
COSINES: tuple[Cosine, ...] = tuple(Cosine)
TURNING = (Cosine.GATE_OUT, Cosine.GATE_IN)  # those that change their sign with w_in and w_out
_PAIRS = {
    Cosine.IN_OUT: (Vector.IN, Vector.OUT),
    Cosine.GATE_OUT: (Vector.GATE, Vector.OUT),
    Cosine.GATE_IN: (Vector.GATE, Vector.IN),
}


@dataclass
class LayerWeights:
    """The weight statistics of all neurons of one layer, in the raw convention.

    cosine: float32 [neuron, pair], by Cosine; 0 where a vector is 0. norm: float32 [neuron, vector], Euclidean.
    norm_quantile: float32 [neuron, vector], share of the layer's neurons with a smaller norm.
    sign: int8 [neuron], -1 where cos(w_gate, w_in) < 0. rw_class: int8 [neuron], RWClass.index.
    token_id: int32 [neuron, vector, end, place], end 0 the highest scores and 1 the lowest, most extreme first; ties:
    the lower id; -1 where the vocabulary has fewer. token_score: float32, the same dims, NaN where id is -1.
    nearest_layer, nearest_neuron: int32 [neuron, place], -1 unfilled; nearest_cosine: float32, NaN unfilled. By
    |cos(w_out, w_out)| descending, ties: the earlier neuron. nearest_sign: int8 [neuron, place], the other's `sign`.
    chance: float32 [convention, pair, quantile], of cosines of mismatched pairs in this layer.
    router_cosine: float32 [neuron, vector], with the expert's row of the router; NaN beside routed experts, None in a
    model without experts.
    """

    cosine: np.ndarray
    norm: np.ndarray
    norm_quantile: np.ndarray
    sign: np.ndarray
    rw_class: np.ndarray
    token_id: np.ndarray
    token_score: np.ndarray
    nearest_layer: np.ndarray
    nearest_neuron: np.ndarray
    nearest_cosine: np.ndarray
    nearest_sign: np.ndarray
    chance: np.ndarray
    router_cosine: np.ndarray | None = None

    def turned(self, flip: np.ndarray) -> LayerWeights:
        """`cosine` with w_in and w_out negated for some neurons (bool [neuron]); see `core.convention`."""
        cosine = self.cosine.copy()
        for kind in TURNING:
            cosine[flip, kind.index] = negated(cosine[flip, kind.index])
        return replace(self, cosine=cosine)


def joined(parts: Sequence[LayerWeights]) -> LayerWeights:
    """The neurons of several MLPs one after another; `chance` is the first one's."""
    names = [name for name in LayerWeights.__dataclass_fields__ if name != "chance"]
    values = {name: [getattr(part, name) for part in parts] for name in names}
    whole = {name: None if several[0] is None else np.concatenate(several) for name, several in values.items()}
    return LayerWeights(**whole, chance=parts[0].chance)  # type: ignore[arg-type]


def widened(layer: LayerWeights, width: int) -> LayerWeights:
    """The same with a longer neuron axis; places without a neuron hold what stands where nothing is known."""
    more = width - len(layer.sign)
    if not more:
        return layer
    fill = {name: WEIGHTS[name].fill for name in LayerWeights.__dataclass_fields__ if name in WEIGHTS}
    fill["router_cosine"] = float("nan")
    found = {}
    for name, value in vars(layer).items():
        if name != "chance" and value is not None:
            value = np.concatenate([value, np.full((more, *value.shape[1:]), fill[name], value.dtype)])
        found[name] = value
    return LayerWeights(**found)


@dataclass(frozen=True)
class TokenScore:
    """A token of the vocabulary and what a weight vector makes of it (`weights.tokens` says in what unit)."""

    token: int
    score: float


@dataclass(frozen=True)
class TokenEnds:
    """Tokens with the highest scores, highest first, and with the lowest, lowest first."""

    top: tuple[TokenScore, ...]
    bottom: tuple[TokenScore, ...]

    @property
    def negated(self) -> TokenEnds:
        """The same for the negated vector."""
        top, bottom = (tuple(TokenScore(t.token, 0.0 - t.score) for t in end) for end in (self.bottom, self.top))
        return TokenEnds(top, bottom)


@dataclass(frozen=True)
class NearNeuron:
    """Another neuron of the model, and the cosine of the two w_out. sign: whether refactoring flips the other."""

    layer: int
    neuron: int
    cosine: float
    sign: int


@dataclass(frozen=True)
class NeuronWeights:
    """The weight statistics of one neuron.

    sign: -1 if the refactored convention negates its w_in and w_out; the other fields are in `convention`.
    chance: quantiles (at QUANTILES) of cosines of mismatched pairs in its layer; chance_random: the same of two random
    directions, Beta((d-1)/2, (d-1)/2) on [-1, 1].
    """

    layer: int
    neuron: int
    cosine: dict[Cosine, float]
    norm: dict[Vector, float]
    norm_quantile: dict[Vector, float]
    sign: int
    rw_class: RWClass
    tokens: dict[Vector, TokenEnds]
    nearest: tuple[NearNeuron, ...]
    chance: dict[Cosine, tuple[float, ...]]
    chance_random: tuple[float, ...]
    chance_refactored: dict[Cosine, tuple[float, ...]]
    convention: str = "raw"
    router: dict[Vector, float] | None = None

    @property
    def refactored(self) -> NeuronWeights:
        """The same facts in the refactored convention."""
        if self.convention == "refactored":
            return self
        near = tuple(replace(other, cosine=0.0 + self.sign * other.sign * other.cosine) for other in self.nearest)
        cosine, tokens = dict(self.cosine), dict(self.tokens)
        router = None if self.router is None else dict(self.router)
        if self.sign < 0:
            for kind in TURNING:
                cosine[kind] = 0.0 - cosine[kind]
            for vector in (Vector.IN, Vector.OUT):
                tokens[vector] = tokens[vector].negated
                if router is not None:
                    router[vector] = 0.0 - router[vector]
        chance = self.chance_refactored
        return replace(self, convention="refactored", cosine=cosine, tokens=tokens, nearest=near, chance=chance,
                       router=router)  # fmt: skip


def one_neuron(part: LayerWeights, layer: int, neuron: int, chance_random: np.ndarray) -> NeuronWeights:
    """A neuron's record from arrays that hold it alone (neuron axis of length 1)."""
    tokens = {
        vector: TokenEnds(
            *(_scores(part.token_id[0, vector.index, end], part.token_score[0, vector.index, end]) for end in (0, 1))
        )
        for vector in VECTORS
    }
    nearest = tuple(
        NearNeuron(
            int(part.nearest_layer[0, i]),
            int(part.nearest_neuron[0, i]),
            float(part.nearest_cosine[0, i]),
            int(part.nearest_sign[0, i]),
        )
        for i in range(part.nearest_layer.shape[1])
        if part.nearest_layer[0, i] >= 0
    )
    raw, refactored = ({kind: tuple(map(float, band[kind.index])) for kind in COSINES} for band in part.chance)
    return NeuronWeights(
        layer=layer,
        neuron=neuron,
        cosine={kind: float(part.cosine[0, kind.index]) for kind in COSINES},
        norm={vector: float(part.norm[0, vector.index]) for vector in VECTORS},
        norm_quantile={vector: float(part.norm_quantile[0, vector.index]) for vector in VECTORS},
        sign=int(part.sign[0]),
        rw_class=RW_CLASSES[int(part.rw_class[0])],
        tokens=tokens,
        nearest=nearest,
        chance=raw,
        chance_random=tuple(map(float, chance_random)),
        chance_refactored=refactored,
        router=_to_router(part),
    )


def _to_router(part: LayerWeights) -> dict[Vector, float] | None:
    """None for a neuron that is in no routed expert."""
    if part.router_cosine is None or np.isnan(part.router_cosine[0]).any():
        return None
    return {vector: float(part.router_cosine[0, vector.index]) for vector in VECTORS}


def _scores(ids: np.ndarray, scores: np.ndarray) -> tuple[TokenScore, ...]:
    return tuple(TokenScore(int(i), float(s)) for i, s in zip(ids, scores, strict=True) if i >= 0)

"""What a page shows of a neuron's weights. Always in the raw convention, as the model's files have them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Cosine:
    """A cosine and the range in which 95 % of cosines fall by chance.

    band: 2.5 % and 97.5 % quantiles of the cosines of mismatched pairs in the same layer.
    beta: the same quantiles for random directions, Beta((d-1)/2, (d-1)/2) on [-1, 1].
    """

    value: float
    band: tuple[float, float]
    beta: tuple[float, float]

    def negated(self) -> Cosine:
        return Cosine(-self.value, (-self.band[1], -self.band[0]), (-self.beta[1], -self.beta[0]))


@dataclass(frozen=True)
class Norm:
    """Length of a weight vector, and the share of the layer's neurons with a smaller one (0 to 1)."""

    value: float
    quantile: float


@dataclass(frozen=True)
class TokenScore:
    """A token's text and its dot product with the weight vector (or what the weights stage ranks by)."""

    text: str
    score: float


@dataclass(frozen=True)
class TokenEnds:
    """Tokens at both ends of a ranking: `high` by descending score, `low` by ascending."""

    high: tuple[TokenScore, ...] = ()
    low: tuple[TokenScore, ...] = ()

    def negated(self) -> TokenEnds:
        def turn(scores: tuple[TokenScore, ...]) -> tuple[TokenScore, ...]:
            return tuple(replace(score, score=-score.score) for score in scores)

        return TokenEnds(turn(self.low), turn(self.high))


@dataclass(frozen=True)
class Neighbour:
    """Another neuron of the model and the cosine of the two w_out."""

    layer: int
    neuron: int
    cosine: float


@dataclass(frozen=True)
class NeuronWeights:
    """A neuron's row of the weights stage, in the raw convention.

    rw_class: e.g. "conditional weakening"; the same in both conventions.
    reads_gate, reads_in: tokens that w_gate and w_in respond to (through W_E). writes: tokens that +w_out promotes
    (`high`) and suppresses (`low`) (through W_U).
    """

    rw_class: str
    cos_in_out: Cosine
    cos_gate_out: Cosine
    cos_gate_in: Cosine
    norm_gate: Norm
    norm_in: Norm
    norm_out: Norm
    reads_gate: TokenEnds = TokenEnds()
    reads_in: TokenEnds = TokenEnds()
    writes: TokenEnds = TokenEnds()
    neighbours: tuple[Neighbour, ...] = field(default=())

    def flipped(self) -> NeuronWeights:
        """The same with w_in and w_out negated."""
        return replace(
            self,
            cos_gate_out=self.cos_gate_out.negated(),
            cos_gate_in=self.cos_gate_in.negated(),
            reads_in=self.reads_in.negated(),
            writes=self.writes.negated(),
            neighbours=tuple(replace(other, cosine=-other.cosine) for other in self.neighbours),
        )

"""What a mixture of experts is, and how its experts gate. Imports no torch: pages read it too."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gluscope.core.size import LayerNeurons

# The numbers that stand for gate and in, by `Mixture.gating`, from what the projections give (docs/models.md).
PLAIN, CLAMPED = "plain", "clamped"


@dataclass(frozen=True)
class Mixture:
    """The layers of a model that are mixtures of experts; all are alike.

    layers: which they are; the others have a dense MLP of `dense` neurons. experts, each: number of routed experts, and
    the neurons of one. chosen: experts that a token is sent to. shared: neurons of each shared expert.
    gating: PLAIN, or CLAMPED: gate = min(x . w_gate, limit), in = clip(x . w_in, -limit, limit) + 1 (gpt-oss).
    form: how the routed experts are stored. "rows": a tensor an expert, as those of a dense MLP; "stacked": one for
    all, gate and in [expert, 2 each, d_model] with the gates first, out [expert, d_model, each]; "interleaved": gate
    and in [expert, d_model, 2 each], a gate and an in in turn, out [expert, each, d_model].
    gate, in_, out, router: names of these tensors, with `{layer}`, and with `{expert}` where the form is "rows".
    bias: gate and in of routed experts have biases.
    shared_gate, shared_in, shared_out: names of the shared experts' tensors, each with `{layer}`.
    module: the mixture in a block; `modules`: what it is made of, from the mixture: `experts`, `router`, and of shared
    experts `shared` (names with spaces between), `shared_weight` (what multiplies their output, if anything), `gate`,
    `in`, `out`, `act` from each.
    """

    layers: tuple[int, ...]
    experts: int
    each: int
    chosen: int
    dense: int = 0
    shared: tuple[int, ...] = ()
    gating: str = PLAIN
    limit: float = 0.0
    form: str = "rows"
    gate: str = ""
    in_: str = ""
    out: str = ""
    router: str = ""
    bias: bool = False
    shared_gate: tuple[str, ...] = ()
    shared_in: tuple[str, ...] = ()
    shared_out: tuple[str, ...] = ()
    module: str = ""
    modules: dict[str, str] = field(default_factory=dict)

    def neurons(self, layer: int) -> LayerNeurons:
        """The neurons of a layer."""
        if layer not in self.layers:
            return LayerNeurons(self.dense)
        return LayerNeurons(0, self.shared, self.experts, self.each)

    def is_clamped(self, expert: str) -> bool:
        """Whether an MLP, named as in NeuronId, gates otherwise than act(gate) * in."""
        return self.gating == CLAMPED and expert[:1] == "E" and not expert.startswith("ES")

    def gated(self, expert: str, gate: np.ndarray, in_: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gate and in from what the projections give, biases included."""
        if not self.is_clamped(expert):
            return gate, in_
        limit = np.float32(self.limit)
        return np.minimum(gate, limit), np.clip(in_, -limit, limit) + np.float32(1)

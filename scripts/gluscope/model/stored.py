"""In which stored tensor a neuron's weights are, and where in it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from gluscope.core.neuron import SHARED, shared_number
from gluscope.model.spec import ModelSpec

Place = int | slice


@dataclass(frozen=True)
class StoredPart:
    """Where the vectors w_gate, w_in or w_out of the neurons of one MLP are.

    name: of the tensor, with `{layer}`. expert: the index on its first axis, None where it has no such axis.
    first, step: of the neurons on their axis. width: neurons. column: neurons are on the last axis, d_model before it.
    bias: name of the tensor of biases, "" where there are none.
    """

    name: str
    width: int
    expert: int | None = None
    first: int = 0
    step: int = 1
    column: bool = False
    bias: str = ""

    def rows(self, neuron: Place) -> tuple[Place, ...]:
        """The index of the vector of one neuron ([d_model]), or of all."""
        own = self._along(neuron)
        whole: tuple[Place, ...] = (slice(None), own) if self.column else (own,)
        return whole if self.expert is None else (self.expert, *whole)

    def biases(self, neuron: Place) -> tuple[Place, ...]:
        """The index of a neuron's bias in the tensor of biases."""
        own = self._along(neuron)
        return (own,) if self.expert is None else (self.expert, own)

    def _along(self, neuron: Place) -> Place:
        if isinstance(neuron, slice):
            return slice(self.first, self.first + self.width * self.step, self.step)
        return self.first + neuron * self.step


def stored_part(spec: ModelSpec, part: str, layer: int, expert: str) -> StoredPart:
    """Where `part` ("gate", "in" or "out") of an MLP of a layer is. expert: the MLP's name, as in NeuronId."""
    mixture = spec.mixture
    if mixture is None or layer not in mixture.layers:
        width = spec.d_mlp if mixture is None else mixture.dense
        name = {"gate": spec.gate, "in": spec.in_, "out": spec.out}[part]
        first = width if spec.fused and part == "in" else 0
        bias = name.removesuffix("weight") + "bias" if spec.bias and part != "out" else ""
        return StoredPart(name, width, None, first, 1, part == "out", bias)
    if expert.startswith(SHARED):
        number = shared_number(expert)
        names = {"gate": mixture.shared_gate, "in": mixture.shared_in, "out": mixture.shared_out}[part]
        return StoredPart(names[number], mixture.shared[number], column=part == "out")
    number, width = int(expert[1:]), mixture.each
    name = {"gate": mixture.gate, "in": mixture.in_, "out": mixture.out}[part]
    if mixture.form == "rows":
        return StoredPart(name.replace("{expert}", str(number)), width, column=part == "out")
    bias = f"{name}_bias" if mixture.bias and part != "out" else ""
    if mixture.form == "stacked":
        return StoredPart(name, width, number, width if part == "in" else 0, 1, part == "out", bias)
    if part == "out":
        return StoredPart(name, width, number)
    return StoredPart(name, width, number, 1 if part == "in" else 0, 2, True, bias)

"""How many layers and neurons a model has, and the place of each neuron in stored arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gluscope.core.errors import ConfigError
from gluscope.core.neuron import SHARED, NeuronId


@dataclass(frozen=True)
class Stretch:
    """Neighbouring places of a layer's neuron axis: those of one MLP. expert: its name, as in NeuronId."""

    expert: str
    begin: int
    end: int

    @property
    def width(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class LayerNeurons:
    """The neurons of one layer, in the order in which stored arrays have them on their neuron axis.

    Of a dense MLP, or, in a mixture of experts, of the shared experts and then of each routed one.
    dense: neurons of the dense MLP. shared: of each shared expert. experts, each: number of routed experts, and the
    neurons of one.
    """

    dense: int = 0
    shared: tuple[int, ...] = ()
    experts: int = 0
    each: int = 0

    @property
    def count(self) -> int:
        return self.dense + sum(self.shared) + self.experts * self.each

    @property
    def first_routed(self) -> int:
        """The place of the first neuron of a routed expert."""
        return self.dense + sum(self.shared)

    @property
    def names(self) -> list[str]:
        """Of the layer's MLPs, as in NeuronId, in the order of their neurons."""
        shared = [f"{SHARED}{number}" if len(self.shared) > 1 else SHARED for number in range(len(self.shared))]
        return [""] * bool(self.dense) + shared + [f"E{expert}" for expert in range(self.experts)]

    def stretches(self) -> Iterator[Stretch]:
        """The places of each MLP, one after another."""
        widths = [self.dense] * bool(self.dense) + [*self.shared] + [self.each] * self.experts
        begin = 0
        for name, width in zip(self.names, widths, strict=True):
            yield Stretch(name, begin, begin + width)
            begin += width

    def stretch(self, expert: str) -> Stretch | None:
        """The places of one MLP; None where the layer has none of that name."""
        return next((stretch for stretch in self.stretches() if stretch.expert == expert), None)

    def place(self, neuron: NeuronId) -> int:
        """A neuron's place. Raises IndexError for one that the layer lacks."""
        if not neuron.expert and self.dense:
            begin, width = 0, self.dense
        elif (stretch := self.stretch(neuron.expert)) is not None:
            begin, width = stretch.begin, stretch.width
        else:
            raise IndexError(f"{neuron} of {self}")
        if not 0 <= neuron.neuron < width:
            raise IndexError(f"{neuron} of {width} neurons")
        return begin + neuron.neuron

    def neuron(self, layer: int, place: int) -> NeuronId:
        """The neuron at a place. Raises IndexError where there is none."""
        if not 0 <= place < self.count:
            raise IndexError(f"place {place} of {self.count} in layer {layer}")
        if place < self.dense:
            return NeuronId(layer, place)
        if place >= self.first_routed:
            expert, number = divmod(place - self.first_routed, self.each)
            return NeuronId(layer, number, f"E{expert}")
        own = next(stretch for stretch in self.stretches() if place < stretch.end)
        return NeuronId(layer, place - own.begin, own.expert)


@dataclass(frozen=True)
class Size:
    """The neurons of a model's MLPs, layer by layer."""

    layers: tuple[LayerNeurons, ...]

    @classmethod
    def dense(cls, n_layers: int, d_mlp: int) -> Size:
        """Of a model without experts."""
        return cls((LayerNeurons(d_mlp),) * n_layers)

    @classmethod
    def of_results(cls, mixture: Mapping[str, Any] | None, n_layers: int, widest: int) -> Size:
        """Of the model that results are of. mixture: of RunProvenance; n_layers, widest: lengths of their axes."""
        if mixture is None:
            return cls.dense(n_layers, widest)
        own = LayerNeurons(0, tuple(mixture["shared"]), mixture["experts"], mixture["each"])
        mixed = set(mixture["layers"])
        return cls(tuple(own if n in mixed else LayerNeurons(mixture["dense"]) for n in range(n_layers)))

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def widest(self) -> int:
        """The length of the neuron axis of stored arrays: the neurons of the largest layer."""
        return max((layer.count for layer in self.layers), default=0)

    @property
    def neurons(self) -> int:
        return sum(layer.count for layer in self.layers)

    @property
    def has_experts(self) -> bool:
        return any(layer.experts for layer in self.layers)

    def place(self, neuron: NeuronId) -> int:
        """A neuron's place in its layer. Raises IndexError for one that the model lacks."""
        return self.layers[neuron.layer].place(neuron)

    def neuron(self, layer: int, place: int) -> NeuronId:
        """The neuron at a place of a layer."""
        return self.layers[layer].neuron(layer, place)

    def refuse_layer(self, where: str, layer: int) -> None:
        """Raise ConfigError if the model has no such layer."""
        if layer >= self.n_layers:
            expected = f"a layer from 0 to {self.n_layers - 1} (the model has {self.n_layers})"
            raise ConfigError(where, expected, f"layer {layer}", "correct the neuron's name")

    def refuse(self, where: str, neuron: NeuronId) -> None:
        """Raise ConfigError if the model has no such layer, expert or neuron."""
        self.refuse_layer(where, neuron.layer)
        layer = self.layers[neuron.layer]
        width = layer.dense if not neuron.expert and layer.dense else None
        if width is None:
            stretch = layer.stretch(neuron.expert)
            if stretch is None:
                found = neuron.expert or f"{neuron}, which names none"
                raise ConfigError(where, _mlps(layer, neuron.layer), found, "correct the neuron's name")
            width = stretch.width
        if neuron.neuron >= width:
            whose = "each expert" if neuron.expert else "each layer"
            expected = f"a neuron from 0 to {width - 1} ({whose} has {width})"
            raise ConfigError(where, expected, f"neuron {neuron.neuron}", "correct the neuron's name")


def _mlps(layer: LayerNeurons, number: int) -> str:
    """What a layer has instead of the expert that somebody asked for."""
    if not layer.experts:
        return f"a neuron such as L{number}/N0 (layer {number} is no mixture of experts)"
    shared = f", or {' or '.join(layer.names[: len(layer.shared)])}" if layer.shared else ""
    return f"an expert from E0 to E{layer.experts - 1}{shared} (layer {number} is a mixture of experts)"

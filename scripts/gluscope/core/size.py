"""How many layers and neurons a model has."""

from __future__ import annotations

from dataclasses import dataclass

from gluscope.core.errors import ConfigError


@dataclass(frozen=True)
class Size:
    """Dimensions of a model's MLPs."""

    n_layers: int
    d_mlp: int

    def refuse(self, where: str, layer: int, neuron: int) -> None:
        """Raise ConfigError if the model has no such layer or neuron."""
        if layer >= self.n_layers:
            expected = f"a layer from 0 to {self.n_layers - 1} (the model has {self.n_layers})"
            raise ConfigError(where, expected, f"layer {layer}", "correct the neuron's name")
        if neuron >= self.d_mlp:
            expected = f"a neuron from 0 to {self.d_mlp - 1} (each layer has {self.d_mlp})"
            raise ConfigError(where, expected, f"neuron {neuron}", "correct the neuron's name")

"""Weights of single neurons and whole layers, straight from the safetensors files. Imports no torch: pages use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import ModelError
from gluscope.model.files import FETCH_AGAIN, Tensor, tensors_of
from gluscope.model.spec import ModelSpec

_STORED: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


class WeightRows:
    """Reads the parts of the weights that are asked for, and no others.

    Every array is float32, exactly the stored value whatever the stored type (F32, F16, BF16). `neuron` counts
    within the layer. Raises ModelError for files that are missing, cut short or of another type.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._tensors = tensors_of(Path(spec.folder))

    def gate(self, layer: int, neuron: int) -> np.ndarray:
        """w_gate of one neuron, [d_model]."""
        return self._part(self.spec.gate, layer, self._neuron(neuron))

    def in_(self, layer: int, neuron: int) -> np.ndarray:
        """w_in of one neuron, [d_model]."""
        return self._part(self.spec.in_, layer, self._neuron(neuron) + self._first_in)

    def out(self, layer: int, neuron: int) -> np.ndarray:
        """w_out of one neuron, [d_model]."""
        return self._part(self.spec.out, layer, (slice(None), self._neuron(neuron)))

    def bias_gate(self, layer: int, neuron: int) -> float:
        """Added to x . w_gate; 0.0 where the model has no bias."""
        return self._bias(self.spec.gate, layer, self._neuron(neuron))

    def bias_in(self, layer: int, neuron: int) -> float:
        """Added to x . w_in; 0.0 where the model has no bias."""
        return self._bias(self.spec.in_, layer, self._neuron(neuron) + self._first_in)

    def gate_matrix(self, layer: int) -> np.ndarray:
        """w_gate of all neurons, [neuron, d_model]."""
        return self._part(self.spec.gate, layer, slice(self.spec.d_mlp))

    def in_matrix(self, layer: int) -> np.ndarray:
        """w_in of all neurons, [neuron, d_model]."""
        return self._part(self.spec.in_, layer, slice(self._first_in, self._first_in + self.spec.d_mlp))

    def out_matrix(self, layer: int) -> np.ndarray:
        """w_out of all neurons, [neuron, d_model]: what is stored, transposed without being copied."""
        return self._part(self.spec.out, layer, slice(None)).T

    def gain(self, layer: int) -> np.ndarray | None:
        """The gain of the norm before the MLP, 1 + w included, float32 [d_model]; None where it has none."""
        norm = self.spec.norm(layer)
        if norm.gain is None:
            return None
        return np.asarray(self._part(norm.gain, layer, slice(None)) + np.float32(norm.offset))

    def out_row(self, layer: int, dimension: int) -> np.ndarray:
        """What all neurons write to one dimension of the residual stream, [neuron]."""
        return self._part(self.spec.out, layer, dimension)

    def embed(self, tokens: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Rows of W_E, [token, d_model]; all, a slice, or the ids of some."""
        return self._part(self.spec.embed, None, tokens)

    def unembed(self, tokens: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Rows of W_U, [token, d_model]; the embedding's where the model ties the two."""
        return self._part(self.spec.unembed, None, tokens)

    @property
    def _first_in(self) -> int:
        return self.spec.d_mlp if self.spec.fused else 0

    def _neuron(self, neuron: int) -> int:
        if not 0 <= neuron < self.spec.d_mlp:
            raise IndexError(f"neuron {neuron} of {self.spec.d_mlp}")
        return neuron

    def _bias(self, weight: str, layer: int, row: int) -> float:
        return float(self._part(weight.removesuffix("weight") + "bias", layer, row)) if self.spec.bias else 0.0

    def _part(self, name: str, layer: int | None, part: int | slice | np.ndarray | tuple[slice, int]) -> np.ndarray:
        if layer is not None and not 0 <= layer < self.spec.n_layers:
            raise IndexError(f"layer {layer} of {self.spec.n_layers}")
        stored = self._stored(name if layer is None else name.format(layer=layer))
        return _float32(np.asarray(stored[part]))

    def _stored(self, name: str) -> np.ndarray:
        """The tensor as a read-only memory map of its bytes."""
        tensor: Tensor | None = self._tensors.get(name)
        if tensor is None or tensor.dtype not in _STORED:
            found = tensor.dtype if tensor else "no such tensor"
            raise ModelError(self.spec.folder, f"{name} as F32, F16 or BF16", found, FETCH_AGAIN)
        return np.memmap(tensor.file, _STORED[tensor.dtype], "r", offset=tensor.start, shape=tensor.shape)


def _float32(stored: np.ndarray) -> np.ndarray:
    """Exact float32 values; bfloat16, read as uint16, is the upper half of a float32's bits."""
    if stored.dtype == np.dtype("<u2"):
        return (stored.astype("<u4") << 16).view("<f4").astype(np.float32)
    return stored.astype(np.float32)

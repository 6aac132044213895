"""Weights of single neurons and whole layers, straight from the safetensors files. Imports no torch: pages use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import ModelError
from gluscope.model.files import FETCH_AGAIN, Tensor, tensors_of
from gluscope.model.spec import ModelSpec
from gluscope.model.stored import stored_part

Index = int | slice | np.ndarray | tuple[int | slice, ...]
_STORED: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


class WeightRows:
    """Reads the parts of the weights that are asked for, and no others.

    Every array is float32, exactly the stored value whatever the stored type (F32, F16, BF16). `neuron` is the place in
    the layer (`core.size`), `expert` an MLP's name as in NeuronId. Raises ModelError for files that are missing, cut
    short or of another type.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.size = spec.size
        self._tensors = tensors_of(Path(spec.folder))

    def gate(self, layer: int, neuron: int) -> np.ndarray:
        """w_gate of one neuron, [d_model]."""
        return self._row("gate", layer, neuron)

    def in_(self, layer: int, neuron: int) -> np.ndarray:
        """w_in of one neuron, [d_model]."""
        return self._row("in", layer, neuron)

    def out(self, layer: int, neuron: int) -> np.ndarray:
        """w_out of one neuron, [d_model]."""
        return self._row("out", layer, neuron)

    def bias_gate(self, layer: int, neuron: int) -> float:
        """Added to x . w_gate; 0.0 where the model has no bias."""
        return self._bias("gate", layer, neuron)

    def bias_in(self, layer: int, neuron: int) -> float:
        """Added to x . w_in; 0.0 where the model has no bias."""
        return self._bias("in", layer, neuron)

    def gate_matrix(self, layer: int, expert: str = "") -> np.ndarray:
        """w_gate of all neurons of an MLP, [neuron, d_model]."""
        return self._matrix("gate", layer, expert)

    def in_matrix(self, layer: int, expert: str = "") -> np.ndarray:
        """w_in of all neurons of an MLP, [neuron, d_model]."""
        return self._matrix("in", layer, expert)

    def out_matrix(self, layer: int, expert: str = "") -> np.ndarray:
        """w_out of all neurons of an MLP, [neuron, d_model]: what is stored, transposed without being copied."""
        return self._matrix("out", layer, expert)

    def router(self, layer: int) -> np.ndarray:
        """What the router of a mixture multiplies x with, [expert, d_model]."""
        assert self.spec.mixture is not None
        return self._part(self.spec.mixture.router, layer, slice(None))

    def gain(self, layer: int) -> np.ndarray | None:
        """The gain of the norm before the MLP, 1 + w included, float32 [d_model]; None where it has none."""
        norm = self.spec.norm(layer)
        if norm.gain is None:
            return None
        return np.asarray(self._part(norm.gain, layer, slice(None)) + np.float32(norm.offset))

    def out_row(self, layer: int, dimension: int) -> np.ndarray:
        """What all neurons of a dense layer write to one dimension of the residual stream, [neuron]."""
        return self._part(self.spec.out, layer, dimension)

    def embed(self, tokens: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Rows of W_E, [token, d_model]; all, a slice, or the ids of some."""
        return self._part(self.spec.embed, None, tokens)

    def unembed(self, tokens: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Rows of W_U, [token, d_model]; the embedding's where the model ties the two."""
        return self._part(self.spec.unembed, None, tokens)

    def _row(self, part: str, layer: int, neuron: int) -> np.ndarray:
        expert, number = self._named(layer, neuron)
        stored = stored_part(self.spec, part, layer, expert)
        return self._part(stored.name, layer, stored.rows(number))

    def _matrix(self, part: str, layer: int, expert: str) -> np.ndarray:
        self._named(layer, 0)
        stored = stored_part(self.spec, part, layer, expert)
        found = self._part(stored.name, layer, stored.rows(slice(None)))
        return found.T if stored.column else found

    def _bias(self, part: str, layer: int, neuron: int) -> float:
        expert, number = self._named(layer, neuron)
        stored = stored_part(self.spec, part, layer, expert)
        return float(self._part(stored.bias, layer, stored.biases(number))) if stored.bias else 0.0

    def _named(self, layer: int, neuron: int) -> tuple[str, int]:
        """The MLP of a neuron, and the number that it has there."""
        if not 0 <= layer < self.spec.n_layers:
            raise IndexError(f"layer {layer} of {self.spec.n_layers}")
        found = self.size.neuron(layer, neuron)
        return found.expert, found.neuron

    def _part(self, name: str, layer: int | None, part: Index) -> np.ndarray:
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

"""Weights as they read from, and write to, the residual stream itself: the norm before the MLP multiplied in.

As TransformerLens' `fold_ln` has them, and so the original tool: cosines and signs are of these. With
x = gain * unit(h) for a residual stream h, gate = x . w_gate = unit(h) . (gain * w_gate). A layer norm takes the mean
over d_model away: no weight reads it, and to write it does nothing, so there all three vectors are centred. A norm
behind the MLP folds nothing.

x, gate and in stay those of the stored weights: this is another view of the same products.
"""

from __future__ import annotations

import numpy as np

from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.weights.products import signs


class FoldedRows:
    """`WeightRows` with the norm folded in; all float32, worked out in float64 and rounded once.

    Matrices are [neuron, d_model], of one MLP of a layer (`expert`: its name, as in NeuronId).
    """

    def __init__(self, rows: WeightRows) -> None:
        self.rows = rows
        self.spec = rows.spec

    def gate_matrix(self, layer: int, expert: str = "") -> np.ndarray:
        return self._read(layer, self.rows.gate_matrix(layer, expert))

    def in_matrix(self, layer: int, expert: str = "") -> np.ndarray:
        return self._read(layer, self.rows.in_matrix(layer, expert))

    def out_matrix(self, layer: int, expert: str = "") -> np.ndarray:
        return self._centred(layer, self.rows.out_matrix(layer, expert))

    def router(self, layer: int) -> np.ndarray:
        """The rows of a mixture's router, float32 [expert, d_model]."""
        return self._read(layer, self.rows.router(layer))

    def embed(self, layer: int, tokens: slice) -> np.ndarray:
        """What the layer's norm leaves, before its gain, of a residual stream that is a token's embedding alone.

        float32 [token, d_model], of mean square 1 (0 stays 0).
        """
        found = self._centred(layer, self.rows.embed(tokens))
        size = np.sqrt(np.mean(np.square(found, dtype=np.float64), axis=1, keepdims=True))
        return np.asarray(np.divide(found, size, out=found, where=size > 0, casting="same_kind"))

    def _read(self, layer: int, weights: np.ndarray) -> np.ndarray:
        gain = self.rows.gain(layer)
        if gain is not None:
            weights = weights * gain  # one product of two float32 values, rounded once: as in float64
        return self._centred(layer, weights)

    def _centred(self, layer: int, vectors: np.ndarray) -> np.ndarray:
        if self.spec.norm(layer).kind != "layer":
            return vectors
        mean = np.mean(vectors, axis=-1, keepdims=True, dtype=np.float64)
        return np.asarray(vectors - mean, np.float32)


def signs_of(spec: ModelSpec) -> np.ndarray:
    """int8 [layer, neuron], what the refactored convention flips; equal to what the weights stage stores."""
    rows, size = FoldedRows(WeightRows(spec)), spec.size
    found = np.ones((size.n_layers, size.widest), np.int8)
    for layer, neurons in enumerate(size.layers):
        for part in neurons.stretches():
            gate, in_ = rows.gate_matrix(layer, part.expert), rows.in_matrix(layer, part.expert)
            found[layer, part.begin : part.end] = signs(gate, in_)
    return found

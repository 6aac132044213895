"""Inner products of a layer's weight vectors: norms, cosines, the sign of the refactored convention."""

from __future__ import annotations

import numpy as np

from gluscope.weights.types import COSINES, VECTORS, Vector

_BLOCK = 256  # neurons at a time


def products(gate: np.ndarray, in_: np.ndarray, out: np.ndarray) -> np.ndarray:
    """float64 [neuron, vector, vector], inner products of each neuron's own three vectors, float32 [neuron, d_model].

    Products of float32 values are exact in float64 and the order of the sums is fixed, so the signs that follow are
    the same in every stage, however many threads it has.
    """
    found = np.empty((len(gate), 3, 3))
    for begin in range(0, len(gate), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        three = [np.asarray(matrix[part], np.float64) for matrix in (gate, in_, out)]
        for i, left in enumerate(three):
            for j, right in enumerate(three[: i + 1]):
                found[part, i, j] = found[part, j, i] = np.einsum("nd,nd->n", left, right)
    return found


def signs(gate: np.ndarray, in_: np.ndarray) -> np.ndarray:
    """int8 [neuron]: -1 where cos(w_gate, w_in) < 0, which the refactored convention flips; else 1.

    gate, in_: float32 [neuron, d_model]. Equal to the sign of `products`.
    """
    found = np.empty(len(gate))
    for begin in range(0, len(gate), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        found[part] = np.einsum("nd,nd->n", np.asarray(gate[part], np.float64), np.asarray(in_[part], np.float64))
    return sign_of(found)


def sign_of(gate_in: np.ndarray) -> np.ndarray:
    """int8: -1 where an inner product is negative, else 1."""
    return np.where(gate_in < 0, -1, 1).astype(np.int8)


def norms(product: np.ndarray) -> np.ndarray:
    """float32 [neuron, vector], from `products`."""
    return np.asarray(np.sqrt(np.einsum("nvv->nv", product)), np.float32)


def quantiles(norm: np.ndarray) -> np.ndarray:
    """float32 [neuron, vector]: share of the neurons whose norm is smaller, from float32 [neuron, vector] norms."""
    smaller = [np.searchsorted(np.sort(column), column) for column in norm.T]
    return np.asarray(np.stack(smaller, axis=1) / max(1, len(norm)), np.float32)


def cosines(product: np.ndarray) -> np.ndarray:
    """float32 [neuron, pair], from `products`; 0 where one of the two vectors is 0, which reads or writes nothing."""
    squares = np.einsum("nvv->nv", product)
    found = np.zeros((len(product), len(COSINES)), np.float32)
    for kind in COSINES:
        a, b = (vector.index for vector in kind.vectors)
        scale = np.sqrt(squares[:, a]) * np.sqrt(squares[:, b])
        found[:, kind.index] = np.divide(product[:, a, b], scale, out=np.zeros(len(product)), where=scale > 0)
    return np.asarray(np.clip(found, -1.0, 1.0))


def sign_from(product: np.ndarray) -> np.ndarray:
    """int8 [neuron], from `products`; equal to `signs`."""
    return sign_of(product[:, Vector.GATE.index, Vector.IN.index])


assert tuple(vector.name for vector in VECTORS) == ("GATE", "IN", "OUT")  # the order of `products`' arguments

"""Norms, cosines and signs against loops over numbers."""

from __future__ import annotations

import math

import numpy as np
from gluscope.weights.products import cosines, norms, products, sign_from, signs
from gluscope.weights.types import COSINES, Cosine, Vector


def vectors(neurons: int = 300, d_model: int = 24, seed: int = 0) -> dict[Vector, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {vector: rng.standard_normal((neurons, d_model)).astype(np.float32) for vector in Vector}


def test_by_hand() -> None:
    gate = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]], np.float32)
    in_ = np.array([[-3.0, -4.0], [0.0, 2.0], [1.0, 1.0]], np.float32)
    out = np.array([[4.0, -3.0], [5.0, 5.0], [0.0, 7.0]], np.float32)
    product = products(gate, in_, out)
    np.testing.assert_array_equal(norms(product), np.array([[5, 5, 5], [1, 2, 50**0.5], [0, 2**0.5, 7]], np.float32))
    half = 0.5**0.5
    expected = np.array([[0, 0, -1], [half, half, 0], [half, 0, 0]], np.float32)  # in_out, gate_out, gate_in
    np.testing.assert_allclose(cosines(product), expected, atol=1e-7)
    np.testing.assert_array_equal(sign_from(product), [-1, 1, 1])  # a cosine of 0 keeps +1


def test_against_plain_loops() -> None:
    found = vectors()
    product = products(*found.values())
    for neuron in (0, 255, 256, 299):
        for kind in COSINES:
            a, b = ([float(v) for v in found[vector][neuron]] for vector in kind.vectors)
            cosine = math.fsum(map(math.prod, zip(a, b, strict=True))) / math.hypot(*a) / math.hypot(*b)
            assert abs(cosines(product)[neuron, kind.index] - cosine) < 1e-7
        for vector in Vector:
            norm = math.hypot(*map(float, found[vector][neuron]))
            assert abs(norms(product)[neuron, vector.index] / norm - 1) < 1e-7


def test_sign_does_not_depend_on_layout_or_block() -> None:
    found = vectors(neurons=600)
    gate, in_ = found[Vector.GATE], found[Vector.IN]
    whole = signs(gate, in_)
    assert whole.dtype == np.int8
    np.testing.assert_array_equal(whole, sign_from(products(*found.values())))
    in_pieces = [signs(gate[i : i + 7], in_[i : i + 7]) for i in range(0, 600, 7)]
    np.testing.assert_array_equal(whole, np.concatenate(in_pieces))
    np.testing.assert_array_equal(whole, signs(np.asfortranarray(gate), in_))
    np.testing.assert_array_equal(whole, np.where(cosines(products(*found.values()))[:, 2] < 0, -1, 1))


def test_refactoring_negates_two_cosines_and_makes_the_third_positive() -> None:
    found = vectors()
    before = products(*found.values())
    sign = sign_from(before).astype(np.float32)[:, None]
    after = products(found[Vector.GATE], found[Vector.IN] * sign, found[Vector.OUT] * sign)
    assert (sign < 0).any()
    np.testing.assert_array_equal(cosines(after)[:, Cosine.IN_OUT.index], cosines(before)[:, Cosine.IN_OUT.index])
    for kind in (Cosine.GATE_OUT, Cosine.GATE_IN):
        np.testing.assert_array_equal(cosines(after)[:, kind.index], sign[:, 0] * cosines(before)[:, kind.index])
    assert (cosines(after)[:, Cosine.GATE_IN.index] >= 0).all()
    assert (sign_from(after) == 1).all()


def test_tiny_and_huge_weights_keep_their_cosines() -> None:
    found = vectors(neurons=4)
    for factor in (1e-30, 1e30):
        scaled = products(*(matrix * np.float32(factor) for matrix in found.values()))
        np.testing.assert_allclose(cosines(scaled), cosines(products(*found.values())), rtol=1e-6)

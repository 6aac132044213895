"""Chance bands: of random directions against closed forms and random vectors; of mismatched pairs by brute force."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from gluscope.core.convention import CONVENTIONS
from gluscope.weights import chance
from gluscope.weights.products import norms, products, sign_from
from gluscope.weights.types import COSINES, QUANTILES, Cosine, Vector

LEVELS = np.array(QUANTILES)


def test_closed_forms() -> None:
    np.testing.assert_allclose(chance.random_quantiles(2), np.sin(np.pi * (LEVELS - 0.5)), atol=1e-8)  # arcsine
    np.testing.assert_allclose(chance.random_quantiles(3), 2 * LEVELS - 1, atol=1e-8)  # uniform on a sphere's axis
    c = chance.random_quantiles(4)  # semicircle
    np.testing.assert_allclose(0.5 + (c * np.sqrt(1 - c**2) + np.arcsin(c)) / np.pi, LEVELS, atol=1e-8)
    np.testing.assert_array_equal(chance.random_quantiles(1, (0.1, 0.9)), [-1, 1])


@pytest.mark.parametrize("d_model", [5, 32, 512, 4096, 16384])
def test_many_dimensions_against_the_density_of_beta(d_model: int) -> None:
    c = np.linspace(0, 1, 2_000_001)
    log_constant = math.lgamma(d_model / 2) - math.lgamma((d_model - 1) / 2) - 0.5 * math.log(math.pi)
    density = np.exp(log_constant + (d_model - 3) / 2 * np.log1p(-(np.minimum(c, 1 - 1e-12) ** 2)))
    above_half = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * c[1])])
    found = chance.random_quantiles(d_model)
    np.testing.assert_allclose(0.5 + np.sign(found) * np.interp(np.abs(found), c, above_half), LEVELS, atol=1e-6)


def test_many_dimensions_are_nearly_normal() -> None:
    normal = np.array([NormalDist().inv_cdf(level) for level in QUANTILES]) / math.sqrt(4096)
    np.testing.assert_allclose(chance.random_quantiles(4096), normal, rtol=2e-3, atol=1e-9)


def test_random_vectors_lie_in_their_bands() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 200_000, 16))
    cosine = np.einsum("nd,nd->n", a, b) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    found = np.mean(cosine[:, None] < chance.random_quantiles(16), axis=0)
    assert np.all(np.abs(found - LEVELS) < 5 * np.sqrt(LEVELS * (1 - LEVELS) / len(cosine)))


def layer(neurons: int, d_model: int = 6) -> tuple[dict[Vector, np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    vectors = {vector: rng.standard_normal((neurons, d_model)).astype(np.float32) for vector in Vector}
    vectors[Vector.IN] += 0.2 * vectors[Vector.GATE] + 0.4  # so that the cosines are not all alike
    product = products(*vectors.values())
    return vectors, norms(product), sign_from(product)


def test_mismatched_pairs_by_brute_force() -> None:
    vectors, norm, sign = layer(9)
    assert len(set(sign.tolist())) == 2
    found = chance.mismatched(vectors, norm, sign)
    for refactored in range(len(CONVENTIONS)):
        seen = {vector: matrix.astype(np.float64) for vector, matrix in vectors.items()}
        if refactored:
            seen |= {vector: seen[vector] * sign[:, None] for vector in (Vector.IN, Vector.OUT)}
        for kind in COSINES:
            a, b = (seen[vector] for vector in kind.vectors)
            pairs = [
                a[i] @ b[j] / np.linalg.norm(a[i]) / np.linalg.norm(b[j]) for i in range(9) for j in range(9) if i != j
            ]
            np.testing.assert_allclose(found[refactored, kind.index], np.quantile(pairs, LEVELS), atol=1e-6)


def test_large_layers_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, norm, sign = layer(1000, 8)
    complete = chance.mismatched(vectors, norm, sign)
    monkeypatch.setattr(chance, "MOST_NEURONS", 250)
    sampled = chance.mismatched(vectors, norm, sign)
    np.testing.assert_allclose(sampled, complete, atol=0.05)
    assert (sampled != complete).any()


def test_one_neuron_has_no_pairs_and_dead_ones_count_as_zero() -> None:
    vectors, norm, sign = layer(1)
    assert np.isnan(chance.mismatched(vectors, norm, sign)).all()
    vectors, norm, sign = layer(2)
    vectors[Vector.GATE][:], norm[:, Vector.GATE.index] = 0, 0
    found = chance.mismatched(vectors, norm, sign)
    assert (found[:, Cosine.GATE_IN.index] == 0).all()
    assert np.isfinite(found).all()

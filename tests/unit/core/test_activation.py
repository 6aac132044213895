"""numpy's activations against torch's and transformers', and the laws that the sign cases rest on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gluscope.core.activation import NAMES, act
from transformers.activations import ACT2FN

POINTS = np.concatenate([np.linspace(-12, 12, 4801), [-1e4, -100, -1e-8, 0.0, 1e-8, 100, 1e4]]).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_models_function(name):
    """In float64, where the model's function has no rounding to speak of (gelu_fast has a constant of ten digits)."""
    expected = ACT2FN[name](torch.from_numpy(POINTS).double()).numpy()
    found = act(name)(POINTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_torch_float32():
    x = torch.from_numpy(POINTS)
    for name, expected in [
        ("silu", torch.nn.functional.silu(x)),
        ("gelu", torch.nn.functional.gelu(x)),
        ("gelu_pytorch_tanh", torch.nn.functional.gelu(x, approximate="tanh")),
        ("relu", torch.nn.functional.relu(x)),
    ]:
        np.testing.assert_allclose(act(name)(POINTS), expected.numpy(), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_has_the_sign_of_its_input_and_increases_where_positive(name):
    values = act(name)(POINTS)
    assert np.all(values[POINTS > 0] > 0)
    assert np.all(values[POINTS <= 0] <= 0)
    assert np.all(np.diff(act(name)(np.sort(POINTS[POINTS > 0]))) > 0)
    assert not np.any(np.isnan(act(name)(np.array([np.finfo(np.float32).max, np.finfo(np.float32).min], np.float32))))


def test_keeps_shapes_and_takes_half_precision():
    gate = np.array([[[1.5, -2.0]]], np.float16)
    assert act("silu")(gate).shape == (1, 1, 2)
    np.testing.assert_allclose(act("silu")(gate)[0, 0], [1.2263618, -0.23840584], rtol=1e-6)
    assert act("gelu")(np.float32(1.0)).shape == ()
    assert act("gelu")(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_different_names_differ():
    """GELU and its tanh form are told apart; so are SiLU and quick GELU."""
    assert np.abs(act("gelu")(POINTS) - act("gelu_pytorch_tanh")(POINTS)).max() > 1e-4
    assert np.abs(act("silu")(POINTS) - act("quick_gelu")(POINTS)).max() > 1e-2


def test_unknown_name():
    with pytest.raises(KeyError):
        act("sigmoid")

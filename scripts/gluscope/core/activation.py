"""Activation functions of gated MLPs in numpy, by the names that model configs use.

Only functions with the sign of their input, increasing where the input is positive: the sign cases and the rule that
act's extremes in gate+ cases are the gate's rest on that. Computed in float64, so that a float32 result is the exact
value rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Activation = Callable[[np.ndarray], np.ndarray]
_erfc = np.frompyfunc(math.erfc, 1, 1)  # numpy has none; 0.1 microseconds a value


def act(name: str) -> Activation:
    """The function that a config calls `name`: any float array -> float32 of the same shape.

    Raises KeyError for a name that is not in `NAMES`.
    """
    function = _FUNCTIONS[name]

    def apply(gate: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(function(np.asarray(gate, np.float64)), np.float32)

    return apply


def _sigmoid(x: np.ndarray) -> np.ndarray:
    decay = np.exp(-np.abs(x))
    return np.asarray(np.where(x > 0, 1.0, decay) / (1.0 + decay))


def _silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x) (Hendrycks and Gimpel 2016; Ramachandran et al. 2017, there swish)."""
    return np.asarray(x * _sigmoid(x))


def _quick_gelu(x: np.ndarray) -> np.ndarray:
    """GELU's sigmoid form (Hendrycks and Gimpel 2016)."""
    return np.asarray(x * _sigmoid(1.702 * x))


def _gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution function of x (Hendrycks and Gimpel 2016)."""
    return np.asarray(0.5 * x * np.asarray(_erfc(x / -math.sqrt(2.0)), np.float64))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    """GELU's tanh form (Hendrycks and Gimpel 2016), with (1 + tanh z) / 2 written as sigmoid(2 z)."""
    return np.asarray(x * _sigmoid(2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def _relu(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(x, 0.0))


def _relu_squared(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(x, 0.0) ** 2)


_FUNCTIONS: dict[str, Activation] = {
    "silu": _silu,
    "swish": _silu,
    "quick_gelu": _quick_gelu,
    "gelu": _gelu,
    "gelu_python": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_accurate": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "gelu_python_tanh": _gelu_tanh,
    "relu": _relu,
    "relu2": _relu_squared,
}
NAMES: tuple[str, ...] = tuple(_FUNCTIONS)

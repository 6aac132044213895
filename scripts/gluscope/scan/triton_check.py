"""Whether the Triton reduction can be trusted on a device: it compiles there, and finds what the reference finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from gluscope.core.errors import ModelError, one_line
from gluscope.scan.reduce import Reducer, TorchReducer
from gluscope.summary.types import LISTED, LayerSummary

_LENGTHS = (130, 1, 7, 64, 33, 2, 129, 3)  # tokens of texts: segments and tiles that are full, cut and single
_EXACT = ("count", *LISTED)


def triton_problem(
    n_neurons: int,
    k: int,
    device: str,
    dtype: torch.dtype = torch.bfloat16,
    fused: bool = False,
    lengths: Sequence[int] = _LENGTHS,
) -> str | None:
    """What is wrong with `TritonReducer` on a device, in a line; None if nothing is.

    dtype, fused: of the model's values, and whether its gate and in are halves of one tensor; they come with padding
    and without, as in a scan. Takes some seconds to compile for just these, which the scan then need not.
    """
    try:
        from gluscope.scan.triton_reduce import TritonReducer
    except ImportError as error:
        return f"no Triton ({one_line(error)})"
    try:
        texts, values = np.array(lengths), _some_values(n_neurons, sum(lengths), dtype, device)
        reference = _summary(TorchReducer, n_neurons, k, texts, values)
        mine = _summary(TritonReducer, n_neurons, k, texts, values, fused, padded=True)
        different = _differs(mine, reference)
        return different or _overlooks_nan(TritonReducer, n_neurons, k, values)
    except Exception as error:  # a compiler that is not there, a driver too old, no memory: whatever it is
        return one_line(error)


def _some_values(n_neurons: int, tokens: int, dtype: torch.dtype, device: str) -> tuple[torch.Tensor, ...]:
    """Rounded, so that there are zeros and ties."""
    generator = torch.Generator().manual_seed(0)
    gate, in_ = ((4 * torch.randn(tokens, n_neurons, generator=generator)).round() / 4 for _ in range(2))
    gate, in_ = gate.to(device, dtype), in_.to(device, dtype)
    act = torch.nn.functional.silu(gate)
    return gate, in_, act, act * in_


def _summary(
    kind: Callable[[int, int, int], Reducer],
    n_neurons: int,
    k: int,
    lengths: np.ndarray,
    values: tuple[torch.Tensor, ...],
    fused: bool = False,
    padded: bool = False,
) -> LayerSummary:
    """Of two batches; the second one's rows are lower. padded: the second has padding, which is not to be read."""
    reducer, half = kind(1, n_neurons, k), len(lengths) // 2
    border, rows = int(lengths[:half].sum()), np.arange(len(lengths))[::-1]
    first, second = ([value[part] for value in values] for part in (slice(border), slice(border, None)))
    if padded:
        second = [
            torch.nn.utils.rnn.pad_sequence(value.split(lengths[half:].tolist()), True, torch.nan) for value in second
        ]
    for part, own in ((slice(half), first), (slice(half, None), second)):
        reducer.update(0, rows[part], lengths[part], *(_halves(*own) if fused else own))
    return reducer.layer_summary(0)


def _halves(gate: torch.Tensor, in_: torch.Tensor, *others: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return (*torch.cat([gate, in_], -1).chunk(2, -1), *others)


def _differs(mine: LayerSummary, reference: LayerSummary) -> str | None:
    for name in _EXACT:
        if not np.array_equal(getattr(mine, name), getattr(reference, name), equal_nan=name == "extreme_value"):
            return f"another `{name}` than the reference"
    if not np.allclose(mine.sum, reference.sum, rtol=64 * 2**-24, atol=0):
        return "another `sum` than the reference"
    return None


def _overlooks_nan(
    kind: Callable[[int, int, int], Reducer], n_neurons: int, k: int, values: tuple[torch.Tensor, ...]
) -> str | None:
    reducer = kind(1, n_neurons, k)
    value = values[2][:1].clone()
    value[0, -1] = torch.nan
    reducer.update(0, np.array([0]), np.array([1]), values[0][:1], values[1][:1], value, values[3][:1])
    try:
        reducer.layer_summary(0)
    except ModelError:
        return None
    return "NaN overlooked"

"""From gate, in, act and post of a batch to the statistics of every neuron, layer by layer, while the model runs.

`TorchReducer` is the reference and serves every device; `NumbaReducer` serves CPUs and `TritonReducer` GPUs: they give
exactly the same extremes and counts, and sums equal to rounding.
"""

from __future__ import annotations

import sys
from typing import Protocol

import numpy as np
import torch

from gluscope.core.cases import CASES, LISTS, QUANTITIES, Quantity
from gluscope.core.errors import ModelError
from gluscope.summary.types import LayerSummary

_ROWS = 2**32 - 1  # no row is above it
_UNFILLED = -1


class Reducer(Protocol):
    """Collects the statistics of all layers of a model over texts that come in any order and any batches.

    kind: its name for people. takes_padding: see `update`.
    """

    kind: str
    takes_padding: bool

    def update(
        self,
        layer: int,
        rows: np.ndarray,
        lengths: np.ndarray,
        gate: torch.Tensor,
        in_: torch.Tensor,
        act: torch.Tensor,
        post: torch.Tensor,
    ) -> None:
        """Take in a batch of texts at one layer.

        rows, lengths: int64 [example]. gate, in_, act, post: [token, neuron], the texts' real tokens one after
        another, of any floating type. A reducer with `takes_padding` also takes [example, position, neuron] with
        anything behind each text. Raises ModelError, here or in `layer_summary`, if a value is not finite.
        Running out of memory leaves the statistics as they were, so that the texts can be run again in smaller
        batches; where that is not so, it is a ModelError.
        """

    def layer_summary(self, layer: int) -> LayerSummary:
        """What was found at a layer so far, in the raw convention and without samples."""


class PartsReducer(Reducer, Protocol):
    """One that also takes texts of which some tokens are missing."""

    def update_many(
        self, first: int, rows: np.ndarray, lengths: np.ndarray, *values: torch.Tensor, positions: np.ndarray | None
    ) -> None:
        """`update` of several layers from `first` on, whose tokens stand one layer after another.

        lengths: int64 [layer, example], tokens of each text. positions: int32 [token], their places in the texts; None
        where no token is missing. Only [token, neuron].
        """


def make_reducer(
    n_layers: int,
    n_neurons: int,
    k: int,
    device: str = "cpu",
    kind: str = "auto",
    dtype: torch.dtype = torch.bfloat16,
    fused: bool = False,
) -> PartsReducer:
    """The reducer for a device. kind: "numba", "torch", "triton", or "auto".

    "auto" is numba on a CPU; on a GPU it is triton if that proves sound there, and else torch, of which a line warns.
    dtype, fused: see `triton_problem`.
    """
    if kind == "auto":
        kind = "numba" if torch.device(device).type == "cpu" else _best_on_gpu(n_neurons, k, device, dtype, fused)
    if kind == "numba":
        from gluscope.scan.kernel import NumbaReducer  # numba is not needed on a GPU

        return NumbaReducer(n_layers, n_neurons, k)
    if kind == "triton":
        from gluscope.scan.triton_reduce import TritonReducer

        return TritonReducer(n_layers, n_neurons, k)
    return TorchReducer(n_layers, n_neurons, k)


def _best_on_gpu(n_neurons: int, k: int, device: str, dtype: torch.dtype, fused: bool) -> str:
    from gluscope.scan.triton_check import triton_problem

    problem = triton_problem(n_neurons, k, device, dtype, fused)
    if problem is None:
        return "triton"
    instead = "the scan goes on with torch's operations, with the same results and many times slower"
    step = "install the triton that belongs to this torch, and a C compiler, and start again to have it fast"
    print(
        f"\nWARNING: reduction on {device}: expected a fused kernel, found {problem}; {instead}. Next: {step}.\n",
        file=sys.stderr,
    )
    return "torch"


def not_finite(layer: int) -> ModelError:
    """What a reducer raises when it meets NaN or infinity."""
    step = "try dtype float32 or bfloat16, or another model"
    return ModelError(f"layer {layer}", "finite activations", "NaN or infinity", step)


def torn(layer: int) -> ModelError:
    """What a reducer raises where memory runs out after a part of the texts has been taken in."""
    step = "ask for more memory, or set `batch_tokens` lower"
    return ModelError(f"layer {layer}", "memory for the reduction", "too little", step)


class TorchReducer:
    """The reference, in plain torch operations, on whatever device the tensors are; the host waits for nothing.

    It has not been measured on a GPU.
    """

    kind = "torch"
    takes_padding = False

    def __init__(self, n_layers: int, n_neurons: int, k: int) -> None:
        self._n_neurons, self._k = n_neurons, k
        self._state: list[_TorchState | None] = [None] * n_layers

    def update(
        self,
        layer: int,
        rows: np.ndarray,
        lengths: np.ndarray,
        gate: torch.Tensor,
        in_: torch.Tensor,
        act: torch.Tensor,
        post: torch.Tensor,
        *,
        positions: np.ndarray | None = None,
    ) -> None:
        if not len(rows) or not lengths.any():
            return
        state = self._state[layer]
        if state is None:
            state = self._state[layer] = _TorchState(self._n_neurons, self._k, gate.device)
        values = dict(zip(QUANTITIES, _apart(lengths, gate, in_, act, post), strict=True))
        places = None
        if positions is not None:
            (places,) = _apart(lengths, indices_on(positions, gate.device)[:, None])
        state.take(indices_on(rows, gate.device), values, places)

    def update_many(
        self,
        first: int,
        rows: np.ndarray,
        lengths: np.ndarray,
        *values: torch.Tensor,
        positions: np.ndarray | None = None,
    ) -> None:
        begin = 0
        for layer, own in enumerate(lengths, first):
            part = slice(begin, begin := begin + int(own.sum()))
            if part.start < part.stop:
                where = None if positions is None else positions[part]
                gate, in_, act, post = (value[part] for value in values)
                self.update(layer, rows, own, gate, in_, act, post, positions=where)

    def layer_summary(self, layer: int) -> LayerSummary:
        state = self._state[layer] or _TorchState(self._n_neurons, self._k, torch.device("cpu"))
        if not state.finite.item() or not state.total.isfinite().all():
            raise not_finite(layer)
        return state.summary()


def _apart(lengths: np.ndarray, *values: torch.Tensor) -> list[torch.Tensor]:
    """[token, neuron] -> [example, position, neuron], with 0 after the end of shorter texts: 0 is in no case."""
    longest, examples = int(lengths.max(initial=0)), len(lengths)
    shape = (examples, longest, values[0].shape[-1])
    if (lengths == longest).all():
        return [value.reshape(shape) for value in values]
    place = indices_on(np.flatnonzero(np.arange(longest) < lengths[:, None]), values[0].device)
    padded = [value.new_zeros(examples * longest, shape[-1]) for value in values]
    return [empty.index_copy_(0, place, value).view(shape) for empty, value in zip(padded, values, strict=True)]


def indices_on(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """int64, copied in the order of the device's work; the host does not wait for it."""
    tensor = torch.from_numpy(np.array(array, np.int64, order="C"))
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


class _TorchState:
    """A layer's statistics: count [neuron, case], total [neuron, case, quantity], lists [neuron, list, k].

    Lists hold magnitudes. `key` has a magnitude's bits, which for numbers that are not negative are in the numbers'
    order, above those of _ROWS - row: one number to sort by, largest first; unfilled places are lowest.
    """

    def __init__(self, neurons: int, k: int, device: torch.device) -> None:
        lists = (neurons, len(LISTS), k)
        self.count = torch.zeros(neurons, len(CASES), dtype=torch.int64, device=device)
        self.total = torch.zeros(neurons, len(CASES), len(QUANTITIES), dtype=torch.float64, device=device)
        self.key = torch.full(lists, _UNFILLED, dtype=torch.int64, device=device)
        self.positions = torch.full(lists, -1, dtype=torch.int32, device=device)
        self.finite = torch.tensor(True, device=device)

    def take(
        self, rows: torch.Tensor, values: dict[Quantity, torch.Tensor], places: torch.Tensor | None = None
    ) -> None:
        """Some texts. rows: int64 [example]; values: [example, position, neuron] each. places: int64 [example,
        position, 1], of the tokens in their texts where these are not whole."""
        best, where = [], []
        gate, in_ = values[Quantity.GATE], values[Quantity.IN]
        finite, count, total = self.finite, self.count.clone(), self.total.clone()
        for value in values.values():
            finite = finite & torch.isfinite(value).all()
        for case in CASES:
            mask = case.holds(gate, in_)
            count[:, case.index] += mask.sum((0, 1))
            for quantity, value in values.items():
                kept = torch.where(mask, value, 0.0)
                total[:, case.index, quantity.index] += kept.sum((0, 1), dtype=torch.float64)
                if quantity in case.listed:
                    highest, first = torch.where(mask, value.abs(), -1.0).max(1)
                    best.append(highest.float())
                    where.append(first)
        first = torch.stack(where, -1)
        if places is not None:
            first = places[..., 0].gather(1, first.flatten(1)).view_as(first)
        key, positions = self._entered(rows, torch.stack(best, -1), first)
        # Only here, where nothing can run out any more.
        self.finite, self.count, self.total, self.key, self.positions = finite, count, total, key, positions

    def _entered(
        self, rows: torch.Tensor, best: torch.Tensor, where: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The lists with texts' maxima, [example, neuron, list], put in."""
        bits = best.view(torch.int32).long()
        key = torch.where(best < 0, _UNFILLED, (bits << 32) | (_ROWS - rows)[:, None, None])
        key = torch.cat([self.key, key.permute(1, 2, 0)], -1)
        positions = torch.cat([self.positions, where.to(torch.int32).permute(1, 2, 0)], -1)
        key, order = key.topk(self.key.shape[-1], dim=-1)
        return key, positions.gather(-1, order)

    def summary(self) -> LayerSummary:
        return summary_of(self.count, self.total, self.key, self.positions)


def summary_of(count: torch.Tensor, total: torch.Tensor, key: torch.Tensor, positions: torch.Tensor) -> LayerSummary:
    """Statistics that lie as `_TorchState` says, lists sorted."""
    summary = LayerSummary.empty(*key.shape[::2])
    summary.count[:], summary.sum[:] = count.cpu().numpy(), total.cpu().numpy()
    keys, places = key.cpu().numpy(), positions.cpu().numpy()
    magnitude = (keys >> 32).astype(np.int32).view(np.float32)
    filled, rows = keys >= 0, _ROWS - (keys & _ROWS)
    for place, (case, quantity) in enumerate(LISTS):
        at, there = (slice(None), case.index, quantity.index), filled[:, place]
        # + 0, so that there is no -0
        summary.extreme_value[at] = np.where(there, case.sign(quantity) * magnitude[:, place] + 0.0, np.nan)
        summary.extreme_example[at] = np.where(there, rows[:, place], -1)
        summary.extreme_position[at] = np.where(there, places[:, place], -1)
    return summary

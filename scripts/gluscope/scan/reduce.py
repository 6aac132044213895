"""From gate, in, act and post of a batch to the statistics of every neuron, layer by layer, while the model runs.

`TorchReducer` is the reference and serves every device; `NumbaReducer` serves CPUs and gives exactly the same extremes
and counts, and sums equal to rounding.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from gluscope.core.cases import CASES, LISTS, QUANTITIES, Quantity
from gluscope.core.errors import ModelError
from gluscope.summary.types import LayerSummary

_NO_ROW = 2**62  # above every row, so that ties put unfilled places last


class Reducer(Protocol):
    """Collects the statistics of all layers of a model over texts that come in any order and any batches."""

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
        another, of any floating type. Raises ModelError if a value is not finite.
        """

    def layer_summary(self, layer: int) -> LayerSummary:
        """What was found at a layer so far, in the raw convention and without samples."""


def make_reducer(n_layers: int, n_neurons: int, k: int, device: str = "cpu", kind: str = "auto") -> Reducer:
    """The reducer for a device. kind: "auto" (numba on a CPU, torch elsewhere), "numba" or "torch"."""
    if kind == "numba" or (kind == "auto" and torch.device(device).type == "cpu"):
        from gluscope.scan.kernel import NumbaReducer  # numba is not needed on a GPU

        return NumbaReducer(n_layers, n_neurons, k)
    return TorchReducer(n_layers, n_neurons, k)


def not_finite(layer: int) -> ModelError:
    """What a reducer raises when it meets NaN or infinity."""
    step = "try dtype float32 or bfloat16, or another model"
    return ModelError(f"layer {layer}", "finite activations", "NaN or infinity", step)


def _summary(
    count: np.ndarray, total: np.ndarray, magnitude: np.ndarray, rows: np.ndarray, positions: np.ndarray
) -> LayerSummary:
    """count [neuron, case], total [neuron, case, quantity], lists [neuron, list, k] as they are stored."""
    summary = LayerSummary.empty(len(count), magnitude.shape[-1])
    summary.count[:], summary.sum[:] = count, total
    filled = magnitude >= 0
    for place, (case, quantity) in enumerate(LISTS):
        at, there = (slice(None), case.index, quantity.index), filled[:, place]
        signed = case.sign(quantity) * magnitude[:, place]
        summary.extreme_value[at] = np.where(there, signed, summary.extreme_value[at])
        summary.extreme_example[at] = np.where(there, rows[:, place], -1)
        summary.extreme_position[at] = np.where(there, positions[:, place], -1)
    return summary


class TorchReducer:
    """The reference, in plain torch operations, on whatever device the tensors are. Not measured on a GPU."""

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
    ) -> None:
        state = self._state[layer]
        if state is None:
            state = self._state[layer] = _TorchState(self._n_neurons, self._k, gate.device)
        values = {Quantity.GATE: gate, Quantity.IN: in_, Quantity.ACT: act, Quantity.POST: post}
        begin = 0
        for row, length in zip(rows.tolist(), lengths.tolist(), strict=True):
            state.take(row, {quantity: value[begin : begin + length].float() for quantity, value in values.items()})
            begin += length

    def layer_summary(self, layer: int) -> LayerSummary:
        state = self._state[layer] or _TorchState(self._n_neurons, self._k, torch.device("cpu"))
        if not state.finite.item():
            raise not_finite(layer)
        lists = (state.magnitude, state.rows, state.positions)
        return _summary(state.count.cpu().numpy(), state.total.cpu().numpy(), *(one.cpu().numpy() for one in lists))


class _TorchState:
    """A layer's statistics: count [neuron, case], total [neuron, case, quantity], lists [neuron, list, k]."""

    def __init__(self, neurons: int, k: int, device: torch.device) -> None:
        lists = (neurons, len(LISTS), k)
        self.count = torch.zeros(neurons, len(CASES), dtype=torch.int64, device=device)
        self.total = torch.zeros(neurons, len(CASES), len(QUANTITIES), dtype=torch.float64, device=device)
        self.magnitude = torch.full(lists, -1.0, device=device)
        self.rows = torch.full(lists, _NO_ROW, dtype=torch.int64, device=device)
        self.positions = torch.full(lists, -1, dtype=torch.int32, device=device)
        self.finite = torch.tensor(True, device=device)

    def take(self, row: int, values: dict[Quantity, torch.Tensor]) -> None:
        """One text; values: [token, neuron] each."""
        best, where = [], []
        gate, in_ = values[Quantity.GATE], values[Quantity.IN]
        for value in values.values():
            self.finite &= torch.isfinite(value).all()
        for case in CASES:
            mask = (gate * case.gate_sign > 0) & (in_ * case.in_sign > 0)
            self.count[:, case.index] += mask.sum(0)
            for quantity, value in values.items():
                kept = torch.where(mask, value, 0.0)
                self.total[:, case.index, quantity.index] += kept.sum(0, dtype=torch.float64)
                if quantity in case.listed:
                    highest, first = torch.where(mask, value.abs(), -1.0).max(0)
                    best.append(highest)
                    where.append(first)
        self._enter(row, torch.stack(best, 1), torch.stack(where, 1))

    def _enter(self, row: int, best: torch.Tensor, where: torch.Tensor) -> None:
        """Sort a text's maxima [neuron, list] into the lists; ties by the lower row."""
        there = best >= 0
        row_of = torch.where(there, row, _NO_ROW)
        position = torch.where(there, where.to(torch.int32), -1)
        magnitude = torch.cat([self.magnitude, best[..., None]], -1)
        rows = torch.cat([self.rows, row_of[..., None]], -1)
        positions = torch.cat([self.positions, position[..., None]], -1)
        by_row = rows.argsort(dim=-1, stable=True)
        by_size = magnitude.gather(-1, by_row).argsort(dim=-1, descending=True, stable=True)
        order = by_row.gather(-1, by_size)[..., : self.magnitude.shape[-1]]
        self.magnitude, self.rows, self.positions = (part.gather(-1, order) for part in (magnitude, rows, positions))

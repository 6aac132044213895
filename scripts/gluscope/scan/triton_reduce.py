"""The reducer for GPUs: `triton_kernel.py` on the device and stream that the tensors are on; the host never waits.

With TRITON_INTERPRET=1 in the environment, before triton is imported, it runs on CPU tensors, slowly: that is how it
is tested where there is no GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import triton

from gluscope.core.cases import LISTS
from gluscope.scan import triton_kernel as kernel
from gluscope.scan.memory import is_out_of_memory
from gluscope.scan.reduce import indices_on, not_finite, summary_of, torn
from gluscope.scan.segments import launches, whole_waves
from gluscope.summary.types import LayerSummary

_MOST_REGISTERS = 128  # a thread of `reduce_splits`: with these, 16 warps fit on an SM
_SIGNS = [[case.gate_sign, case.in_sign, quantity.index] for case, quantity in LISTS]
_MARKED = (torch.bfloat16, torch.float16)  # as float32 they have bits free for a token's place
_DTYPES = (torch.float32, *_MARKED)


class TritonReducer:
    """A `Reducer` for GPUs that copies no tensor whose neurons lie side by side.

    Values that are not finite show in `layer_summary`. Scratch memory: at most 29 kB a neuron and device, taken before
    any statistics change and kept for the next update. All updates of a device belong on one stream.

    Tensors may also be [example, position, neuron] with padding behind each text: padding is then not read.
    """

    kind = "triton"
    takes_padding = True

    def __init__(self, n_layers: int, n_neurons: int, k: int) -> None:
        self._n_neurons, self._k = n_neurons, k
        self._state: list[_State | None] = [None] * n_layers
        self._launch: _Launch | None = None
        self._signs: dict[torch.device, torch.Tensor] = {}
        self._scratch: dict[torch.device, _Scratch] = {}

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
        device, width = gate.device, gate.shape[1] if gate.ndim == 3 else None
        self._check(rows, lengths, gate)
        state = self._state[layer]
        if state is None:
            state = self._state[layer] = _State(self._n_neurons, self._k, device)
        with _current(device):
            if device not in self._signs:
                self._signs[device] = indices_on(np.array(_SIGNS), device)
            values = _alike(gate, in_, act, post)
            segment = kernel.SEGMENT_MARKED if values[0].dtype in _MARKED else kernel.SEGMENT
            launches_ = self._launches(rows, lengths, width, segment, device)
            if device not in self._scratch:
                self._scratch[device] = _Scratch(self._n_neurons, device)
            scratch = self._scratch[device]
            scratch.reserve(launches_)
            try:
                for launch in launches_:
                    state.take(values, launch, self._signs[device], segment, scratch)
            except RuntimeError as error:
                raise (torn(layer) if is_out_of_memory(error) else error) from error

    def update_many(
        self,
        first: int,
        rows: np.ndarray,
        lengths: np.ndarray,
        *values: torch.Tensor,
        positions: np.ndarray | None = None,
    ) -> None:
        raise NotImplementedError("this reducer takes whole texts")

    def layer_summary(self, layer: int) -> LayerSummary:
        state = self._state[layer]
        if state is None:
            return LayerSummary.empty(self._n_neurons, self._k)
        if not state.total.isfinite().all():
            raise not_finite(layer)
        return state.summary()

    def _check(self, rows: np.ndarray, lengths: np.ndarray, gate: torch.Tensor) -> None:
        fits = lengths.sum() == len(gate) if gate.ndim == 2 else lengths.max(initial=0) <= gate.shape[1]
        if not fits or len(rows) != len(lengths) or (gate.ndim == 3 and len(rows) != len(gate)):
            raise ValueError(f"{list(gate.shape[:-1])} tokens for texts of {lengths.sum()}")

    def _launches(
        self, rows: np.ndarray, lengths: np.ndarray, width: int | None, segment: int, device: torch.device
    ) -> list[_LaunchOnDevice]:
        """All layers of a batch, on one device, use the same."""
        plan = self._launch
        if plan is None or not plan.is_for(rows, lengths, width, segment):
            plan = self._launch = _Launch(np.array(rows, np.int64), np.array(lengths, np.int64), width, segment, {})
        return plan.on(device, -(-self._n_neurons // kernel.BLOCK))


@dataclass
class _LaunchOnDevice:
    """`segments.Launch` as tensors."""

    segments: torch.Tensor
    splits: torch.Tensor


@dataclass
class _Launch:
    """The launches of a batch, on the devices that have asked for them. segment: most tokens of one."""

    rows: np.ndarray
    lengths: np.ndarray
    width: int | None
    segment: int
    placed: dict[torch.device, list[_LaunchOnDevice]]

    def is_for(self, rows: np.ndarray, lengths: np.ndarray, width: int | None, segment: int) -> bool:
        same = np.array_equal(self.rows, rows) and np.array_equal(self.lengths, lengths)
        return same and (self.width, self.segment) == (width, segment)

    def on(self, device: torch.device, blocks: int) -> list[_LaunchOnDevice]:
        """blocks: programs of `reduce_splits` for a split."""
        if device not in self.placed:
            begins = np.cumsum(self.lengths) - self.lengths
            if self.width is not None:
                begins = np.arange(len(self.rows)) * self.width
            n_splits = whole_waves(blocks, _slots(device))
            cut = launches(self.rows, begins, self.lengths, self.segment, kernel.MOST_SEGMENTS, n_splits)
            self.placed[device] = [
                _LaunchOnDevice(indices_on(launch.segments, device), indices_on(launch.splits, device))
                for launch in cut
            ]
        return self.placed[device]


_WORDS = 128  # what a part's beginning is a multiple of, so that kernels are compiled for one alignment


class _Scratch:
    """What lies between the kernels of a launch: one piece of memory that grows to the largest launch so far.

    added: float64 [16 sums and 4 counts, neuron].
    """

    def __init__(self, neurons: int, device: torch.device) -> None:
        self._neurons, self._device = neurons, device
        self._words = self._nothing()
        self.added = torch.empty(kernel.N_ADDED, neurons, dtype=torch.float64, device=device)

    def reserve(self, launches_: list[_LaunchOnDevice]) -> None:
        """Memory for each of these."""
        wanted = max((sum(self._sizes(launch)) for launch in launches_), default=0)
        if wanted > len(self._words):
            self._words = self._nothing()  # so that torch may use the old piece for the new one
            self._words = torch.empty(wanted, dtype=torch.int32, device=self._device)

    def of(self, launch: _LaunchOnDevice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """found [segment, list, neuron], hits [split, list, neuron], partial and wide [split, sum, neuron]."""
        segments, splits = len(launch.segments), len(launch.splits) - 1
        sizes = list(self._sizes(launch))
        parts = self._words[: sum(sizes)].split(sizes)
        lists, added = kernel.N_LISTS, kernel.N_ADDED
        shapes = (segments, lists), (splits, lists), (splits, added), (splits, added)
        types = torch.float32, torch.int32, torch.float32, torch.float64
        found, hits, partial, wide = (
            part.view(dtype)[: math.prod(shape) * self._neurons].view(*shape, self._neurons)
            for part, shape, dtype in zip(parts, shapes, types, strict=True)
        )
        return found, hits, partial, wide

    def _nothing(self) -> torch.Tensor:
        return torch.empty(0, dtype=torch.int32, device=self._device)

    def _sizes(self, launch: _LaunchOnDevice) -> Iterator[int]:
        """Words of each part."""
        segments, splits = len(launch.segments), len(launch.splits) - 1
        lists, added = kernel.N_LISTS, kernel.N_ADDED
        for rows in (segments * lists, splits * lists, splits * added, splits * added * 2):
            yield -(-rows * self._neurons // _WORDS) * _WORDS


class _State:
    """A layer's statistics, neurons side by side. total: float64 [16 sums and 4 counts, neuron]; others: `merge_hits`.

    A count is exact as a float64 up to 2^53 tokens.
    """

    def __init__(self, neurons: int, k: int, device: torch.device) -> None:
        lists = (kernel.N_LISTS, k, neurons)
        self.total = torch.zeros(kernel.N_SUMS + kernel.N_CASES, neurons, dtype=torch.float64, device=device)
        self.key = torch.full(lists, -1, dtype=torch.int64, device=device)
        self.position = torch.full(lists, -1, dtype=torch.int32, device=device)
        self.bar = torch.full((kernel.N_LISTS, neurons), -1.0, device=device)

    def take(
        self,
        values: list[torch.Tensor],
        launch: _LaunchOnDevice,
        signs: torch.Tensor,
        segment: int,
        scratch: _Scratch,
    ) -> None:
        (_, k, neurons), device = self.key.shape, self.key.device
        n_splits = len(launch.splits) - 1
        found, hits, partial, wide = scratch.of(launch)
        marked = values[0].dtype in _MARKED
        strides = dict(zip("GUAP", (value.stride(0) for value in values), strict=True))
        # NVIDIA's alone: neither the interpreter nor AMD knows the option.
        limit = {"maxnreg": _MOST_REGISTERS} if device.type == "cuda" and torch.version.hip is None else {}
        kernel.reduce_splits[(triton.cdiv(neurons, kernel.BLOCK), n_splits)](
            *values, launch.segments, launch.splits, self.bar, found, hits, partial, neurons,
            **strides, TILE=kernel.TILE, BLOCK=kernel.BLOCK, SEGMENT=segment, MARKED=marked,
            num_warps=kernel.WARPS, **limit,
        )  # fmt: skip
        width = triton.next_power_of_2(k)
        kernel.merge_hits[(triton.cdiv(neurons, kernel.LANES), kernel.N_LISTS)](
            *values, launch.segments, launch.splits, n_splits, signs, self.bar, found, hits, self.key, self.position,
            neurons, k, **strides, SEGMENT=segment, SCAN=kernel.SCAN, CHUNK=kernel.CHUNK, K=width,
            LANES=kernel.LANES, MARKED=marked, num_warps=max(1, min(8, width // 32)),
        )  # fmt: skip
        # As `partial.sum(0, dtype=torch.float64)`, which takes memory of its own.
        torch.sum(wide.copy_(partial), 0, out=scratch.added)
        self.total += scratch.added

    def summary(self) -> LayerSummary:
        key, order = self.key.permute(2, 0, 1).sort(dim=-1, descending=True)
        position = self.position.permute(2, 0, 1).gather(-1, order)
        total = self.total.T.cpu()
        sums = total[:, : kernel.N_SUMS].reshape(len(total), kernel.N_CASES, -1)
        return summary_of(total[:, kernel.N_SUMS :].long(), sums, key, position)


def _alike(*values: torch.Tensor) -> list[torch.Tensor]:
    """The tensors as [token, neuron] of one dtype, neurons side by side."""
    dtype = values[0].dtype if values[0].dtype in _DTYPES and len({v.dtype for v in values}) == 1 else torch.float32
    flat = (value.detach().to(dtype).flatten(0, -2) for value in values)
    return [value if value.stride(1) == 1 else value.contiguous() for value in flat]


def _slots(device: torch.device) -> int:
    """Programs of `reduce_splits` that a device runs at a time: as many as the registers of an SM, 65,536, hold."""
    if device.type != "cuda":
        return 1
    an_sm = 65536 // (_MOST_REGISTERS * 32 * kernel.WARPS)
    return an_sm * torch.cuda.get_device_properties(device).multi_processor_count


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device, whatever device its tensors are on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()

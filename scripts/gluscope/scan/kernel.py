"""The reduction on a CPU, compiled: one read of gate, in, act and post, parallel over blocks of neurons.

A block goes through a text in tiles of some tokens; `vector.py` has what happens there. A text's extremes start at the
running k-th value of each list instead of 0, so that after some hundred texts most texts change nothing, and only
where one does is its tile searched for the position and a list touched. docs/decisions/reduction-kernel.md has
the measurements.
"""

from __future__ import annotations

import functools
from typing import Any

import numba as nb
import numpy as np
import torch
from llvmlite import ir
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from gluscope.core.cases import LISTS, QUANTITIES
from gluscope.scan.reduce import not_finite
from gluscope.scan.threads import Threads
from gluscope.scan.vector import (
    CHANGED,
    N_CASES,
    N_LISTS,
    N_SUMS,
    NOT_FINITE,
    WIDTH,
    fetch,
    lowest_bit,
    make_load,
    make_search,
    make_tile,
    which_differ,
)
from gluscope.summary.types import LayerSummary

TILE = 32  # tokens: float32 sums of so many go into the float64 totals
LINE = 64  # bytes of a cache line
UNKNOWN = -2  # no token's number
AS_MANY = 10  # tokens that are searched for WIDTH neurons in the time of finding one neuron's
BLOCK = 16  # groups of WIDTH neurons that a thread takes at a time
_DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}

# What a call passes to the compiled function, as int64; arrays by their addresses.
_FIELDS = (
    "block", "not_finite", "gate", "in_", "act", "post", "in_row", "out_row", "examples", "rows", "lengths", "neurons",
    "k", "start", "total", "count", "value", "row_of", "position_of", "positions",
)  # fmt: skip
(
    _NEXT, _BAD, _GATE, _IN, _ACT, _POST, _IN_ROW, _OUT_ROW, _EXAMPLES, _ROWS, _LENGTHS, _NEURONS,
    _K, _START, _TOTAL, _COUNT, _VALUE, _ROW_OF, _POSITION_OF, _POSITIONS,
) = range(len(_FIELDS))  # fmt: skip

_GATE_SIGN = np.array([case.gate_sign for case, _ in LISTS], np.float32)
_IN_SIGN = np.array([case.in_sign for case, _ in LISTS], np.float32)
_SIGN = np.array([case.sign(quantity) for case, quantity in LISTS], np.float32)
_TENSOR = np.array([_GATE + quantity.index for _, quantity in LISTS])


@intrinsic
def _take_number(typing, address):  # type: ignore[no-untyped-def]
    """The int64 at an address, raised by one for whoever asks next, on whatever thread."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", builder.inttoptr(args[0], ir.PointerType()), one, "monotonic")

    return types.int64(types.int64), codegen


def _pointer_to(kind: types.Type) -> Any:
    @intrinsic
    def pointer(typing, address):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), codegen

    return pointer


_floats, _int32s, _int64s = (_pointer_to(kind) for kind in (types.float32, types.int32, types.int64))


@nb.njit(error_model="numpy")
def _just_below(value, sign):  # type: ignore[no-untyped-def]
    """What beats a list whose last value is `value` (NaN: not full) is above this; an equal magnitude is."""
    magnitude = np.float32(abs(value))
    if not magnitude > 0:
        return -sign
    return sign * np.nextafter(magnitude, np.float32(0))


@nb.njit(error_model="numpy")
def _enter(values, rows, positions, value, row, position):  # type: ignore[no-untyped-def]
    """Put a text into a list that is sorted by magnitude descending, then row; the last one drops out."""
    place = len(values) - 1
    while place > 0:
        above = abs(values[place - 1])
        if above > abs(value) or (above == abs(value) and rows[place - 1] < row):
            break
        values[place], rows[place], positions[place] = values[place - 1], rows[place - 1], positions[place - 1]
        place -= 1
    values[place], rows[place], positions[place] = value, row, position


@functools.cache
def compiled(dtype: str) -> Any:
    """The C function `void reduce(int64 *fields)` for tensors of a dtype. Takes about two seconds.

    fields: how many MLPs to reduce, and for each what `_FIELDS` names. Threads go through them in this order.
    """
    tile, load, search = make_tile(dtype), make_load(dtype), make_search(dtype)
    raw, size = (np.uint32, 4) if dtype == "float32" else (np.uint16, 2)
    raws = _pointer_to(types.uint32 if dtype == "float32" else types.uint16)

    @nb.njit(error_model="numpy")
    def find(p, i, neuron, begin, stop, value):  # type: ignore[no-untyped-def]
        """First token from `begin` on that is in list i's case and has the value; -1 if there is none."""
        gate, in_, wanted = p[_GATE] + neuron * size, p[_IN] + neuron * size, p[_TENSOR[i]] + neuron * size
        row = p[_IN_ROW] if _TENSOR[i] < _ACT else p[_OUT_ROW]
        for t in range(begin, stop):
            if load(wanted + t * row) == value:
                g, u = load(gate + t * p[_IN_ROW]), load(in_ + t * p[_IN_ROW])
                if g * _GATE_SIGN[i] > 0 and u * _IN_SIGN[i] > 0:
                    return t
        return -1

    @nb.njit(error_model="numpy")
    def find_all(p, i, group, bits, best, tile_of, begin, end, where):  # type: ignore[no-untyped-def]
        """Where list i of the neurons `bits` has its values, if all of a group at once are faster than each alone.

        where: int32 [WIDTH], becomes their tokens, or -1; UNKNOWN where `find` has to look.
        """
        neurons, low, high = 0, np.int64(1 << 62), np.int64(0)
        while bits:
            lane = lowest_bit(bits)
            bits &= bits - 1
            neurons, low, high = neurons + 1, min(low, tile_of[lane]), max(high, tile_of[lane])
        first = begin + low * TILE
        tokens = min(begin + (high + 1) * TILE, end) - first
        if neurons * AS_MANY <= tokens or (group + 1) * WIDTH > p[_NEURONS]:
            where[:] = UNKNOWN
            return
        row = p[_IN_ROW] if _TENSOR[i] < _ACT else p[_OUT_ROW]
        ins, own = group * WIDTH * size + first * p[_IN_ROW], group * WIDTH * size + first * row
        addresses = p[_GATE] + ins, p[_IN] + ins, p[_TENSOR[i]] + own
        found, wanted = np.int64(where.ctypes.data), np.int64(best.ctypes.data)
        search(*addresses, p[_IN_ROW], row, tokens, _GATE_SIGN[i], _IN_SIGN[i], wanted, found)
        for lane in range(WIDTH):
            if where[lane] >= 0:
                where[lane] += first

    @nb.njit(error_model="numpy")
    def what_changes(p, group, best, neurons, lists):  # type: ignore[no-untyped-def]
        """neurons: int64 [list], becomes those of a group that beat it, a bit each. lists: int64 [WIDTH], the same
        turned round. Fetches what will be written, in the order in which it lies in memory: this takes longest.
        """
        start, here, k = p[_START] + group * N_LISTS * WIDTH * 4, np.int64(best.ctypes.data), p[_K]
        width = min(WIDTH, p[_NEURONS] - group * WIDTH)
        lists[:] = 0
        for i in range(N_LISTS):
            step = i * WIDTH * 4
            bits = which_differ(here + step, start + step) & ((1 << width) - 1)
            neurons[i] = bits
            while bits:
                lists[lowest_bit(bits)] |= 1 << i
                bits &= bits - 1
        for lane in range(width):
            bits, at = lists[lane], (group * WIDTH + lane) * N_LISTS * k
            while bits:
                entry = at + lowest_bit(bits) * k
                bits &= bits - 1
                for line in range(0, k * 4, LINE):
                    fetch(p[_VALUE] + entry * 4 + line)
                    fetch(p[_POSITION_OF] + entry * 4 + line)
                    fetch(p[_ROW_OF] + entry * 8 + 2 * line)
                    fetch(p[_ROW_OF] + entry * 8 + 2 * line + LINE)

    @nb.njit(error_model="numpy")
    def settle(p, group, best, tile_of, row, begin, end, neurons, lists, where):  # type: ignore[no-untyped-def]
        """Put a text, tokens `begin` to `end`, into the lists of a group's neurons that it beats."""
        k = p[_K]
        start = carray(_floats(p[_START] + group * N_LISTS * WIDTH * 4), (N_LISTS, WIDTH))
        what_changes(p, group, best, neurons, lists)
        for i in range(N_LISTS):
            if neurons[i]:
                find_all(p, i, group, neurons[i], best[i], tile_of[i], begin, end, where[i])
        for lane in range(WIDTH):
            bits, neuron = lists[lane], group * WIDTH + lane
            while bits:
                i = lowest_bit(bits)
                bits &= bits - 1
                value, found, at = best[i, lane], np.int64(where[i, lane]), (neuron * N_LISTS + i) * k
                values = carray(_floats(p[_VALUE] + at * 4), (k,))
                rows = carray(_int64s(p[_ROW_OF] + at * 8), (k,))
                if abs(value) == abs(values[k - 1]) and row > rows[k - 1]:
                    continue
                if found == UNKNOWN:
                    first = begin + tile_of[i, lane] * TILE
                    found = find(p, i, neuron, first, min(first + TILE, end), value)
                if found >= 0:
                    positions = carray(_int32s(p[_POSITION_OF] + at * 4), (k,))
                    at_token = found - begin
                    if p[_POSITIONS]:
                        at_token = np.int64(carray(_int32s(p[_POSITIONS] + found * 4), (1,))[0])
                    _enter(values, rows, positions, value + np.float32(0), row, at_token)  # + 0: no -0
                    start[i, lane] = _just_below(values[k - 1], _SIGN[i])

    @nb.njit(error_model="numpy")
    def copy(p, group, begin, tokens, to):  # type: ignore[no-untyped-def]
        """A tile of a last group with fewer than WIDTH neurons, as [tensor, token, WIDTH]; the rest stays 0."""
        for i in range(len(QUANTITIES)):
            row = p[_IN_ROW] if _GATE + i < _ACT else p[_OUT_ROW]
            for t in range(tokens):
                address = p[_GATE + i] + (begin + t) * row + group * WIDTH * size
                source = carray(raws(address), (WIDTH,))
                for j in range(p[_NEURONS] - group * WIDTH):
                    to[i, t, j] = source[j]

    @nb.njit(error_model="numpy")
    def reduce_tile(p, group, begin, tokens, number, best, tile_of, copied):  # type: ignore[no-untyped-def]
        """Tile `number` of a text, tokens `begin` and so on."""
        ins, outs = group * WIDTH * size + begin * p[_IN_ROW], group * WIDTH * size + begin * p[_OUT_ROW]
        gate, in_, act, post = p[_GATE] + ins, p[_IN] + ins, p[_ACT] + outs, p[_POST] + outs
        in_row, out_row = p[_IN_ROW], p[_OUT_ROW]
        if (group + 1) * WIDTH > p[_NEURONS]:
            copy(p, group, begin, tokens, copied)
            gate, in_, act, post = [np.int64(copied[i].ctypes.data) for i in range(4)]
            in_row = out_row = np.int64(WIDTH * size)
        to = np.int64(best.ctypes.data)
        start = to if number else p[_START] + group * N_LISTS * WIDTH * 4
        total, count = p[_TOTAL] + group * N_SUMS * WIDTH * 8, p[_COUNT] + group * N_CASES * WIDTH * 8
        where = np.int64(tile_of.ctypes.data)
        return tile(gate, in_, act, post, in_row, out_row, tokens, start, to, where, number, total, count)

    @nb.njit(error_model="numpy")
    def reduce_mlp(p):  # type: ignore[no-untyped-def]
        rows, lengths = carray(_int64s(p[_ROWS]), (p[_EXAMPLES],)), carray(_int64s(p[_LENGTHS]), (p[_EXAMPLES],))
        best, tile_of = np.empty((BLOCK, N_LISTS, WIDTH), np.float32), np.zeros((BLOCK, N_LISTS, WIDTH), np.int32)
        copied = np.zeros((len(QUANTITIES), TILE, WIDTH), raw)
        neurons, lists = np.empty(N_LISTS, np.int64), np.empty(WIDTH, np.int64)
        where = np.empty((N_LISTS, WIDTH), np.int32)
        groups = -(-p[_NEURONS] // WIDTH)
        while True:
            low = _take_number(p.ctypes.data) * BLOCK  # type: ignore[call-arg]
            high = min(low + BLOCK, groups)
            if low >= groups:
                return
            begin = 0
            for e in range(p[_EXAMPLES]):
                end, said = begin + lengths[e], 0
                for number in range(-(-lengths[e] // TILE)):
                    first = begin + number * TILE
                    tokens = min(TILE, end - first)
                    for group in range(low, high):
                        b = group - low
                        said |= reduce_tile(p, group, first, tokens, number, best[b], tile_of[b], copied)
                if said & CHANGED:
                    for group in range(low, high):
                        b = group - low
                        settle(p, group, best[b], tile_of[b], rows[e], begin, end, neurons, lists, where)
                if said & NOT_FINITE:
                    p[_BAD] = 1
                begin = end

    @nb.cfunc(types.void(types.CPointer(types.int64)), error_model="numpy")
    def reduce(fields):  # type: ignore[no-untyped-def]
        mlps = carray(fields, (1,))[0]
        whole = carray(fields, (1 + mlps * len(_FIELDS),))
        for mlp in range(mlps):
            reduce_mlp(whole[1 + mlp * len(_FIELDS) : 1 + (mlp + 1) * len(_FIELDS)])

    return reduce


class NumbaReducer:
    """A `Reducer` for CPUs. It works on the threads that torch has, and copies no tensor whose rows are contiguous."""

    kind = "numba"
    takes_padding = False

    def __init__(self, n_layers: int, n_neurons: int, k: int) -> None:
        self._n_neurons, self._k = n_neurons, k
        self._state: list[_State | None] = [None] * n_layers
        self._threads = Threads()

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
        self.update_many(layer, rows, lengths[None], gate, in_, act, post)

    def update_many(
        self,
        first: int,
        rows: np.ndarray,
        lengths: np.ndarray,
        *values: torch.Tensor,
        positions: np.ndarray | None = None,
    ) -> None:
        gate, in_, act, post = values
        dtype = gate.dtype if {t.dtype for t in (gate, in_, act, post)} == {gate.dtype} else torch.float32
        dtype = dtype if dtype in _DTYPES else torch.float32
        (gate, in_, in_row), (act, post, out_row) = _alike(gate, in_, dtype), _alike(act, post, dtype)
        rows, lengths = np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(lengths, np.int64)
        tokens = lengths.sum(1)
        if tokens.sum() != len(gate) or lengths.shape[1] != len(rows):
            raise ValueError(f"{len(gate)} tokens for texts of {tokens.sum()}")
        where = None if positions is None else np.ascontiguousarray(positions, np.int32)
        mlps = np.flatnonzero(tokens)
        if not len(mlps):
            return
        fields = np.zeros(1 + len(mlps) * len(_FIELDS), np.int64)
        fields[0], table = len(mlps), fields[1:].reshape(-1, len(_FIELDS))
        begin = (np.cumsum(tokens) - tokens)[mlps]
        steps = (in_row, in_row, out_row, out_row)
        for at, tensor, row in zip((_GATE, _IN, _ACT, _POST), (gate, in_, act, post), steps, strict=True):
            table[:, at] = tensor.data_ptr() + begin * row
        table[:, _IN_ROW], table[:, _OUT_ROW] = in_row, out_row
        table[:, _EXAMPLES], table[:, _ROWS] = len(rows), rows.ctypes.data
        table[:, _LENGTHS] = lengths.ctypes.data + mlps * lengths.strides[0]
        table[:, _NEURONS], table[:, _K] = self._n_neurons, self._k
        table[:, _START:_POSITIONS] = [self._of(first + mlp).addresses for mlp in mlps.tolist()]
        table[:, _POSITIONS] = 0 if where is None else where.ctypes.data + 4 * begin
        self._threads.run(compiled(_DTYPES[dtype]).address, fields.ctypes.data)
        if table[:, _BAD].any():
            raise not_finite(first)

    def _of(self, layer: int) -> _State:
        state = self._state[layer]
        if state is None:
            state = self._state[layer] = _State(self._n_neurons, self._k)
        return state

    def layer_summary(self, layer: int) -> LayerSummary:
        state = self._state[layer]
        if state is None:
            return LayerSummary.empty(self._n_neurons, self._k)
        if not np.isfinite(state.total).all():
            raise not_finite(layer)
        return state.summary(self._n_neurons, self._k)


class _State:
    """A layer's statistics, WIDTH neurons side by side where vectors are loaded."""

    def __init__(self, neurons: int, k: int) -> None:
        groups = -(-neurons // WIDTH)
        self.start = np.empty((groups, N_LISTS, WIDTH), np.float32)
        self.start[:] = -_SIGN[:, None]
        self.total = np.zeros((groups, N_SUMS, WIDTH))
        self.count = np.zeros((groups, N_CASES, WIDTH), np.int64)
        self.value = np.full((neurons, N_LISTS, k), np.nan, np.float32)
        self.row_of = np.full(self.value.shape, -1, np.int64)
        self.position_of = np.full(self.value.shape, -1, np.int32)
        arrays = (self.start, self.total, self.count, self.value, self.row_of, self.position_of)
        self.addresses = [array.ctypes.data for array in arrays]

    def summary(self, neurons: int, k: int) -> LayerSummary:
        summary = LayerSummary.empty(neurons, k)
        summary.count[:] = self.count.transpose(0, 2, 1).reshape(-1, N_CASES)[:neurons]
        total = self.total.transpose(0, 2, 1).reshape(-1, N_CASES, len(QUANTITIES))
        summary.sum[:] = total[:neurons]
        for i, (case, quantity) in enumerate(LISTS):
            at = (slice(None), case.index, quantity.index)
            summary.extreme_value[at] = self.value[:, i]
            summary.extreme_example[at] = self.row_of[:, i]
            summary.extreme_position[at] = self.position_of[:, i]
        return summary


def _alike(one: torch.Tensor, other: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Two tensors [token, neuron] of a dtype, rows contiguous, and the bytes from a row to the next in both."""
    one, other = one.detach().to(dtype), other.detach().to(dtype)
    if one.stride() != other.stride() or one.stride(1) != 1:
        one, other = one.contiguous(), other.contiguous()
    return one, other, one.stride(0) * one.element_size()

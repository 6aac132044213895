"""The innermost loop of the CPU reduction as vector instructions: its running numbers stay in registers.

numba makes vector code from plain loops too, but keeps the 30 running numbers of a neuron in memory. What is written
here is LLVM's own language: it becomes the instructions of whatever CPU it runs on; `WIDTH` only says how many
neurons go side by side.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gluscope.core.cases import CASES, LISTS, QUANTITIES, Quantity

MASKED = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))  # instructions take a mask
WIDTH = 16 if MASKED else 8
N_LISTS, N_CASES, N_SUMS = len(LISTS), len(CASES), len(CASES) * len(QUANTITIES)
CHANGED, NOT_FINITE = 1, 2
_AHEAD = 128  # bytes to the right of what is read, fetched into the cache: neurons that come next

_F32, _F64 = ir.FloatType(), ir.DoubleType()
_BIT, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 16, 32, 64))
_BYTES = {_F32: 4, _F64: 8, _I16: 2, _I32: 4, _I64: 8}
_POINTER = ir.PointerType()
_intrinsic: Any = intrinsic


def make_tile(dtype: str) -> Any:
    """The step that `NumbaReducer` compiles, for tensors of float32, float16 or bfloat16."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
        return _Tile(builder, dtype).emit(args)

    @intrinsic
    def tile(typing, gate, in_, act, post, in_row, out_row, tokens, start, best, tile_of, number, total, count):  # type: ignore[no-untyped-def]
        """Take 1 to 255 tokens of WIDTH neighbouring neurons into their statistics (their four counts share an int32).

        gate, in_, act, post: addresses of the first token's values. in_row, out_row: bytes from a token to the next,
        in gate and in_, and in act and post.
        start -> best: float32 [list, WIDTH], signed values that the tokens have to exceed in magnitude, and raise.
        tile_of: int32 [list, WIDTH], becomes `number` where they did. total: float64 [sum, WIDTH].
        count: int64 [case, WIDTH]. Returns CHANGED if they did anywhere, plus NOT_FINITE if any value is not finite.
        """
        return types.int64(*[types.int64] * 13), codegen

    return tile


def make_load(dtype: str) -> Any:
    """load(address) -> float32: one value of a tensor."""
    raw = _raw(dtype)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
        value = builder.load(builder.inttoptr(args[0], _POINTER), typ=raw, align=_BYTES[raw])
        return _as_float32(builder, value, dtype)

    @intrinsic
    def load(typing, address):  # type: ignore[no-untyped-def]
        return types.float32(types.int64), codegen

    return load


def make_search(dtype: str) -> Any:
    """Where WIDTH neighbouring neurons have their best values, for tensors of `dtype`."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
        return _Tile(builder, dtype).search(args)

    @intrinsic
    def search(typing, gate, in_, wanted, in_row, row, tokens, gate_sign, in_sign, best, where):  # type: ignore[no-untyped-def]
        """Find, for each neuron, the first of some tokens that is in a case and has the value `best`.

        gate, in_, wanted: addresses of the first token's values; the last is the one that `best` is of. in_row, row:
        bytes from a token to the next, in gate and in_, and in wanted. gate_sign, in_sign: float32, of the case.
        best: float32 [WIDTH]. where: int32 [WIDTH], the tokens' numbers, or -1.
        """
        return types.void(*[types.int64] * 6, *[types.float32] * 2, *[types.int64] * 2), codegen

    return search


@_intrinsic
def which_differ(typing, one, other):  # type: ignore[no-untyped-def]
    """Of two vectors at addresses, float32 [WIDTH], the places where they differ, a bit each."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
        tile = _Tile(builder, "float32")
        differ = builder.fcmp_unordered("!=", *(tile.load(address, 0, _F32) for address in args))
        return builder.zext(builder.bitcast(differ, ir.IntType(WIDTH)), _I64)

    return types.int64(types.int64, types.int64), codegen


@_intrinsic
def lowest_bit(typing, bits):  # type: ignore[no-untyped-def]
    """The place of the lowest bit that is set, of a number that is not 0."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
        return builder.cttz(args[0], ir.Constant(_BIT, 1))

    return types.int64(types.int64), codegen


@_intrinsic
def fetch(typing, address):  # type: ignore[no-untyped-def]
    """Ask for the cache line of an address, which is written next; harmless for any address."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
        _Tile(builder, "float32").fetch(args[0], writes=1)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _raw(dtype: str) -> ir.Type:
    return _F32 if dtype == "float32" else _I16


def _as_float32(b: ir.IRBuilder, raw: ir.Value, dtype: str) -> ir.Value:
    """The exact value of what `_raw` says, one or WIDTH of them. Infinite float16 values become NaN."""
    if dtype == "float32":
        return raw
    full = _full if isinstance(raw.type, ir.VectorType) else ir.Constant
    floats = full(_F32, 0.0).type
    if dtype == "bfloat16":
        return b.bitcast(b.shl(b.zext(raw, full(_I32, 0).type), full(_I32, 16)), floats)
    # Exponent and fraction go to float32's places, where they read as the value times 2**-112.
    wide = b.sext(raw, full(_I32, 0).type)
    bits = b.and_(b.shl(wide, full(_I32, 13)), full(_I32, -0x70000001))
    value = b.fmul(b.bitcast(bits, floats), full(_F32, 2.0**112))
    top = full(_I32, 0x7C00)
    return b.select(b.icmp_signed("==", b.and_(wide, top), top), full(_F32, float("nan")), value)


def _full(kind: ir.Type, value: float) -> ir.Constant:
    return ir.Constant(ir.VectorType(kind, WIDTH), [value] * WIDTH)


class _Tile:
    """Writes a tile's instructions: a loop over tokens whose state is `bests`, `sums`, counts, a check, addresses."""

    def __init__(self, builder: ir.IRBuilder, dtype: str) -> None:
        self.b, self.dtype, self.zero = builder, dtype, _full(_F32, 0.0)

    def emit(self, args: list[ir.Value]) -> ir.Value:
        *addresses, in_row, out_row, tokens, start, best, tile_of, number, total, count = args
        b = self.b
        before, loop, done = b.block, b.append_basic_block("token"), b.append_basic_block("tile_done")
        starts = [self.load(start, i, _F32) for i in range(N_LISTS)]
        begin = [*starts, *[self.zero] * N_SUMS, _full(_I32, 0), self.zero, *addresses, tokens]
        b.branch(loop)
        b.position_at_end(loop)
        state = [b.phi(value.type) for value in begin]
        after = self.token(state, [in_row, in_row, out_row, out_row])
        for phi, first, later in zip(state, begin, after, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(later, loop)
        b.cbranch(b.icmp_signed(">", after[-1], ir.Constant(_I64, 0)), loop, done)
        b.position_at_end(done)
        changed = self.store_bests(starts, after[:N_LISTS], best, tile_of, number)
        self.add_sums(after[N_LISTS : N_LISTS + N_SUMS], total)
        self.add_counts(after[N_LISTS + N_SUMS], count)
        finite = after[N_LISTS + N_SUMS + 1]
        return b.or_(self.flag(changed, CHANGED), self.flag(b.fcmp_unordered("uno", finite, finite), NOT_FINITE))

    def search(self, args: list[ir.Value]) -> ir.Value:
        """A loop over tokens whose state is where the value was found, this token's number, and addresses."""
        *addresses, in_row, row, tokens, gate_sign, in_sign, best, where = args
        b = self.b
        before, loop, done = b.block, b.append_basic_block("candidate"), b.append_basic_block("searched")
        signs = [self.spread(sign, _F32) for sign in (gate_sign, in_sign)]
        value, one = self.load(best, 0, _F32), _full(_I32, 1)
        begin = [_full(_I32, -1), _full(_I32, 0), *addresses, tokens]
        b.branch(loop)
        b.position_at_end(loop)
        state = [b.phi(first.type) for first in begin]
        found, number, *own, left = state
        g, u, w = (_as_float32(b, self.load(address, 0, _raw(self.dtype)), self.dtype) for address in own)
        hit = b.and_(b.fcmp_ordered("==", w, value), b.icmp_signed("<", found, _full(_I32, 0)))
        for part, sign in zip((g, u), signs, strict=True):
            hit = b.and_(hit, b.fcmp_ordered(">", b.fmul(part, sign), self.zero))
        after = [b.select(hit, number, found), b.add(number, one)]
        after += [b.add(address, step) for address, step in zip(own, (in_row, in_row, row), strict=True)]
        after.append(b.sub(left, ir.Constant(_I64, 1)))
        for phi, first, later in zip(state, begin, after, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(later, loop)
        b.cbranch(b.icmp_signed(">", after[-1], ir.Constant(_I64, 0)), loop, done)
        b.position_at_end(done)
        self.store(after[0], where, 0)
        return ir.Constant(ir.IntType(8).as_pointer(), None)

    def spread(self, value: ir.Value, kind: ir.Type) -> ir.Value:
        """WIDTH times the same."""
        one = self.b.insert_element(_full(kind, 0), value, ir.Constant(_I32, 0))
        return self.b.shuffle_vector(one, one, _full(_I32, 0))

    def token(self, state: list[ir.Value], steps: list[ir.Value]) -> list[ir.Value]:
        """One more token."""
        b = self.b
        bests, sums = list(state[:N_LISTS]), list(state[N_LISTS : N_LISTS + N_SUMS])
        counts, finite, *addresses, left = state[N_LISTS + N_SUMS :]
        loaded = [_as_float32(b, self.load(address, 0, _raw(self.dtype)), self.dtype) for address in addresses]
        value = dict(zip(QUANTITIES, loaded, strict=True))
        zero = self.zero
        for one in loaded:  # 0 times a number is 0 unless it is infinite or NaN
            zero = b.fadd(zero, b.fmul(one, self.zero, flags=("contract",)), flags=("contract",))
        finite = b.fadd(finite, zero)
        for case in CASES:
            mask = b.and_(
                self.has_sign(value[Quantity.GATE], case.gate_sign), self.has_sign(value[Quantity.IN], case.in_sign)
            )
            counts = b.add(counts, b.select(mask, _full(_I32, 1 << 8 * case.index), _full(_I32, 0)))
            for quantity in QUANTITIES:
                place = case.index * len(QUANTITIES) + quantity.index
                sums[place] = self.sum(mask, sums[place], value[quantity])
            for quantity in case.listed:
                place = LISTS.index((case, quantity))
                bests[place] = self.extreme(mask, bests[place], value[quantity], case.sign(quantity))
        for address in addresses:
            self.fetch(b.add(address, ir.Constant(_I64, _AHEAD)))
        addresses = [b.add(address, step) for address, step in zip(addresses, steps, strict=True)]
        return [*bests, *sums, counts, finite, *addresses, b.sub(left, ir.Constant(_I64, 1))]

    def sum(self, mask: ir.Value, total: ir.Value, value: ir.Value) -> ir.Value:
        if MASKED:
            return self.b.select(mask, self.b.fadd(total, value), total)
        return self.b.fadd(total, self.b.select(mask, value, self.zero))

    def extreme(self, mask: ir.Value, best: ir.Value, value: ir.Value, sign: int) -> ir.Value:
        """Within a case every quantity has one sign, so that the signed maximum or minimum is the largest magnitude."""
        name = "llvm.maxnum" if sign > 0 else "llvm.minnum"
        kind = best.type
        function = self.declared(f"{name}.v{WIDTH}f32", ir.FunctionType(kind, [kind, kind]))
        # The other way counts a value outside the case as 0. That beats no list but one that is not full, or full of 0.
        value = value if MASKED else self.b.select(mask, value, self.zero)
        found = self.b.call(function, [best, value], fastmath=("nnan", "nsz"))
        return self.b.select(mask, found, best) if MASKED else found

    def store_bests(
        self, starts: list[ir.Value], bests: list[ir.Value], best: ir.Value, tile_of: ir.Value, number: ir.Value
    ) -> ir.Value:
        """Returns a mask of neurons with any change."""
        b, changed = self.b, _full(_BIT, 0)
        here = self.spread(b.trunc(number, _I32), _I32)
        for i, (case, quantity) in enumerate(LISTS):
            raised = b.fcmp_ordered(">" if case.sign(quantity) > 0 else "<", bests[i], starts[i])
            changed = b.or_(changed, raised)
            self.store(bests[i], best, i)
            self.store(b.select(raised, here, self.load(tile_of, i, _I32)), tile_of, i)
        return changed

    def add_sums(self, sums: list[ir.Value], total: ir.Value) -> None:
        for i, value in enumerate(sums):
            wide = self.b.fpext(value, ir.VectorType(_F64, WIDTH))
            self.store(self.b.fadd(self.load(total, i, _F64), wide), total, i)

    def add_counts(self, counts: ir.Value, count: ir.Value) -> None:
        b = self.b
        for i in range(N_CASES):
            own = b.and_(b.lshr(counts, _full(_I32, 8 * i)), _full(_I32, 255))
            self.store(b.add(self.load(count, i, _I64), b.zext(own, ir.VectorType(_I64, WIDTH))), count, i)

    def has_sign(self, value: ir.Value, sign: int) -> ir.Value:
        return self.b.fcmp_ordered(">" if sign > 0 else "<", value, self.zero)

    def flag(self, mask: ir.Value, value: int) -> ir.Value:
        """`value` if any bit of the mask is set, else 0."""
        kind = ir.IntType(WIDTH)
        found = self.b.icmp_unsigned("!=", self.b.bitcast(mask, kind), ir.Constant(kind, 0))
        return self.b.select(found, ir.Constant(_I64, value), ir.Constant(_I64, 0))

    def fetch(self, address: ir.Value, writes: int = 0) -> None:
        """Ask for a cache line; harmless for any address."""
        kind = ir.FunctionType(ir.VoidType(), [_POINTER, _I32, _I32, _I32])
        keep_data = [ir.Constant(_I32, number) for number in (writes, 3, 1)]
        self.b.call(self.declared("llvm.prefetch.p0", kind), [self.b.inttoptr(address, _POINTER), *keep_data])

    def declared(self, name: str, kind: ir.FunctionType) -> ir.Function:
        found = self.b.module.globals.get(name)
        return found if found is not None else ir.Function(self.b.module, kind, name)

    def place(self, address: ir.Value, i: int, kind: ir.Type) -> ir.Value:
        """The i-th vector of an array."""
        return self.b.inttoptr(self.b.add(address, ir.Constant(_I64, i * WIDTH * _BYTES[kind])), _POINTER)

    def load(self, address: ir.Value, i: int, kind: ir.Type) -> ir.Value:
        return self.b.load(self.place(address, i, kind), typ=ir.VectorType(kind, WIDTH), align=_BYTES[kind])

    def store(self, value: ir.Value, address: ir.Value, i: int) -> None:
        kind = value.type.element
        self.b.store(value, self.place(address, i, kind), align=_BYTES[kind])

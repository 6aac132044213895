"""Checksums of a cache's chunks as they are written: off the interpreter's lock, and with a search for infinity.

Python's libraries for crc32c hold the lock while they compute; the thread that launches a GPU's work would wait for
it. Here the processor's own instruction does it, in three strands at a time because each result takes a few cycles.
Imports numba: import it where it is used, not before.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding
import numba as nb
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_POLYNOMIAL = 0x82F63B78  # of crc32c, lowest bit first
_STRAND = 512  # words of 8 bytes: 4 kB of each of three strands, which are also searched, stay in the first cache
_LANES = 0x0001000100010001  # 1 in each 16 bits of a word
_BORDER = 0x8000

_I32, _I64 = ir.IntType(32), ir.IntType(64)
# By machine: a feature of its processors, the instruction, and the type of the checksum in it.
_INSTRUCTIONS = {
    "x86_64": ("sse4.2", "llvm.x86.sse42.crc32.64.64", _I64),
    "aarch64": ("crc", "llvm.aarch64.crc32cx", _I32),
}


def checksums(chunks: np.ndarray, infinite: int) -> tuple[np.ndarray, bool]:
    """Crc32c of each chunk as zarr stores it, uint8 [chunk, 4], and whether all values are finite.

    chunks: uint16 [chunk, value], contiguous, a multiple of 4 values to a chunk: bits of float16 or bfloat16.
    infinite: the bits of infinity in it.
    """
    if chunks.ctypes.data % 8:
        chunks = chunks.copy()
    found = np.empty(len(chunks), "<u4")
    finite = compiled()(chunks.view(np.uint64), np.uint64((_BORDER - infinite) * _LANES), found)
    return found.view(np.uint8).reshape(-1, 4), bool(finite)


@cache
def compiled(instruction: bool = True) -> Callable[[np.ndarray, np.uint64, np.ndarray], bool]:
    """The loop, compiled for this processor. instruction: with the processor's own, if it has one."""
    given = _INSTRUCTIONS.get(platform.machine())
    there = given is not None and bool(llvmlite.binding.get_host_cpu_features().get(given[0]))
    step = _by_instruction(*given[1:]) if given is not None and there and instruction else _by_tables()
    skip = _skip_tables(8 * _STRAND)

    @nb.njit(inline="always")
    def skipped(crc):  # type: ignore[no-untyped-def]
        """The checksum after as many zeros as a strand has bytes."""
        low, high = crc & 0xFFFF, crc >> 16
        return skip[0, low & 255] ^ skip[1, low >> 8] ^ skip[2, high & 255] ^ skip[3, high >> 8]

    @nb.njit("b1(u8[:, ::1], u8, u4[::1])", nogil=True)
    def loop(chunks, raise_, found):  # type: ignore[no-untyped-def]
        n, seen = np.int64(chunks.shape[1]), np.uint64(0)
        for c in range(len(chunks)):
            words, crc, i = chunks[c], np.uint64(0xFFFFFFFF), 0
            while i + 3 * _STRAND <= n:
                for j in range(i, i + 3 * _STRAND):
                    seen |= (words[j] & np.uint64(0x7FFF * _LANES)) + raise_
                second, third = np.uint64(0), np.uint64(0)
                for j in range(i, i + _STRAND):
                    crc = step(crc, words[j])
                    second = step(second, words[j + _STRAND])
                    third = step(third, words[j + 2 * _STRAND])
                crc = skipped(skipped(crc) ^ second) ^ third
                i += 3 * _STRAND
            for j in range(i, n):
                seen |= (words[j] & np.uint64(0x7FFF * _LANES)) + raise_
                crc = step(crc, words[j])
            found[c] = np.uint32(crc ^ np.uint64(0xFFFFFFFF))
        return (seen & np.uint64(_BORDER * _LANES)) == 0

    return loop  # type: ignore[no-any-return]


def _by_instruction(name: str, kind: ir.Type) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
        function = builder.module.declare_intrinsic(name, (), ir.FunctionType(kind, [kind, _I64]))
        crc = args[0] if kind is _I64 else builder.trunc(args[0], kind)
        found = builder.call(function, [crc, args[1]])
        return found if kind is _I64 else builder.zext(found, _I64)

    @intrinsic
    def step(typing, crc, word):  # type: ignore[no-untyped-def]
        """The checksum, uint64, after 8 more bytes."""
        return types.uint64(types.uint64, types.uint64), codegen

    return step


def _by_tables() -> Any:
    tables = np.zeros((8, 256), np.uint64)  # of a byte with 7, 6, ... 0 bytes behind it
    for byte in range(256):
        crc = byte
        for place in range(7, -1, -1):
            for _ in range(8):
                crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
            tables[place, byte] = crc

    @nb.njit(inline="always")
    def step(crc, word):  # type: ignore[no-untyped-def]
        x, found = crc ^ word, np.uint64(0)
        for place in range(8):
            found ^= tables[place, (x >> np.uint64(8 * place)) & np.uint64(255)]
        return found

    return step


def _skip_tables(zeros: int) -> np.ndarray:
    """uint64 [4, 256]: for each byte of a checksum what it becomes after `zeros` bytes of 0, a power of two of them."""

    def applied(columns: list[int], value: int) -> int:
        found = 0
        for bit in range(32):
            if value >> bit & 1:
                found ^= columns[bit]
        return found

    columns = [(1 << bit) >> 1 if bit else _POLYNOMIAL for bit in range(32)]  # after one bit of 0
    for _ in range((8 * zeros).bit_length() - 1):
        columns = [applied(columns, column) for column in columns]
    return np.array([[applied(columns, byte << 8 * place) for byte in range(256)] for place in range(4)], np.uint64)

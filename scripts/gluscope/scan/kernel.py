"""The reduction on a CPU: one pass over gate, in, act and post, compiled by numba.

A block of neurons goes through a text a few tokens at a time. Within a case every quantity has one sign, so magnitudes
do. The vectorised part adds up counts and sums and asks whether any magnitude beats its list's bar: the running k-th
magnitude, or what the text itself has reached. Only then are the neurons looked at one by one. After some thousand
texts that is rare, so the lists cost almost nothing. docs/decisions/0003-reduction-kernel.md has the measurements.
"""

from __future__ import annotations

import numba as nb
import numpy as np

BLOCK = 128  # neurons of a block: their sums and bars stay in the first-level cache
N_LISTS = 14
N_SUMS = 16
UNFILLED_MAGNITUDE = np.float32(-1.0)
UNFILLED_ROW = np.int64(2**62)
_FLUSH = 64  # tokens after which float32 sums go into float64 totals
_BELOW_ZERO = np.float32(-0.5).view(np.int32)  # less than every magnitude, more than UNFILLED_MAGNITUDE


@nb.njit(nogil=True, error_model="numpy")
def _set_bars(bits, row_of, row, low, n, bar):
    """What this text's magnitudes must exceed to enter their lists.

    That is the list's last magnitude, or the number below it where the last row is higher: then equal is enough.
    bits: int32 [list, k, neuron], magnitudes as their bits, which for numbers above 0 are in the same order.
    """
    last = bits.shape[1] - 1
    for i in range(N_LISTS):
        for j in range(n):
            b = bits[i, last, low + j]
            lower = _BELOW_ZERO if b == 0 else np.int32(b - 1)
            bar[i * BLOCK + j] = b if (b < 0) | (row > row_of[i, last, low + j]) else lower


@nb.njit(nogil=True, error_model="numpy")
def _enter(magnitude, row_of, position_of, i, neuron, value, row, position):
    """Put a text into a list that is sorted by magnitude descending, then row; the last one drops out."""
    place = magnitude.shape[1] - 1
    while place > 0:
        above = magnitude[i, place - 1, neuron]
        if above > value or (above == value and row_of[i, place - 1, neuron] < row):
            break
        magnitude[i, place, neuron] = above
        row_of[i, place, neuron] = row_of[i, place - 1, neuron]
        position_of[i, place, neuron] = position_of[i, place - 1, neuron]
        place -= 1
    magnitude[i, place, neuron] = value
    row_of[i, place, neuron] = row
    position_of[i, place, neuron] = position


@nb.njit(nogil=True, error_model="numpy", inline="always")
def _beats(g, u, a, p, b):
    """Whether any magnitude of one token exceeds its bar; b: the 14 bars of the neuron."""
    zero = np.float32(0)
    open_ = g > zero
    hit = open_ & (u > zero) & ((g > b[0]) | (u > b[1]) | (p > b[2]))
    hit |= open_ & (u < zero) & ((g > b[3]) | (-u > b[4]) | (-p > b[5]))
    closed = g < zero
    hit |= closed & (u > zero) & ((-g > b[6]) | (u > b[7]) | (-a > b[8]) | (-p > b[9]))
    hit |= closed & (u < zero) & ((-g > b[10]) | (-u > b[11]) | (-a > b[12]) | (p > b[13]))
    return np.int32(hit)


@nb.njit(nogil=True, error_model="numpy", fastmath={"nsz"})
def _tokens(gate, in_, act, post, t, steps, low, n, bar, sums, counts):
    """Add tokens t to t + steps - 1 of `n` neurons from `low`; nonzero if any magnitude exceeds its bar.

    gate, in_, act, post: float32 [token, neuron]. bar: float32 [14 * BLOCK]. sums: float32 [16 * BLOCK].
    counts: int32 [4 * BLOCK]. Indices are unsigned: with the check for negative ones nothing would be vectorised.
    """
    B = np.uint64(BLOCK)
    zero = np.float32(0)
    found = np.int32(0)
    for s in range(np.uint64(t), np.uint64(t + steps)):
        for j in range(np.uint64(n)):
            i = np.uint64(low) + j
            g, u, a, p = gate[s, i], in_[s, i], act[s, i], post[s, i]
            b = (
                bar[j], bar[B + j], bar[np.uint64(2) * B + j], bar[np.uint64(3) * B + j], bar[np.uint64(4) * B + j],
                bar[np.uint64(5) * B + j], bar[np.uint64(6) * B + j], bar[np.uint64(7) * B + j],
                bar[np.uint64(8) * B + j], bar[np.uint64(9) * B + j], bar[np.uint64(10) * B + j],
                bar[np.uint64(11) * B + j], bar[np.uint64(12) * B + j], bar[np.uint64(13) * B + j],
            )  # fmt: skip
            found |= _beats(g, u, a, p, b)
            pp, pn = (g > zero) & (u > zero), (g > zero) & (u < zero)
            np_, nn = (g < zero) & (u > zero), (g < zero) & (u < zero)
            counts[j] += np.int32(pp)
            counts[B + j] += np.int32(pn)
            counts[np.uint64(2) * B + j] += np.int32(np_)
            counts[np.uint64(3) * B + j] += np.int32(nn)
            sums[j] += g if pp else zero
            sums[B + j] += u if pp else zero
            sums[np.uint64(2) * B + j] += a if pp else zero
            sums[np.uint64(3) * B + j] += p if pp else zero
            sums[np.uint64(4) * B + j] += g if pn else zero
            sums[np.uint64(5) * B + j] += u if pn else zero
            sums[np.uint64(6) * B + j] += a if pn else zero
            sums[np.uint64(7) * B + j] += p if pn else zero
            sums[np.uint64(8) * B + j] += g if np_ else zero
            sums[np.uint64(9) * B + j] += u if np_ else zero
            sums[np.uint64(10) * B + j] += a if np_ else zero
            sums[np.uint64(11) * B + j] += p if np_ else zero
            sums[np.uint64(12) * B + j] += g if nn else zero
            sums[np.uint64(13) * B + j] += u if nn else zero
            sums[np.uint64(14) * B + j] += a if nn else zero
            sums[np.uint64(15) * B + j] += p if nn else zero
    return found


@nb.njit(nogil=True, error_model="numpy")
def _note(g, u, a, p, j, position, bar, where):
    """Raise the bars that one neuron's magnitudes at a token exceed, and note the position there."""
    if g == 0 or u == 0 or g != g or u != u:
        return
    first = (0 if u > 0 else 3) if g > 0 else (6 if u > 0 else 10)
    n_lists = 3 if g > 0 else 4
    for i in range(n_lists):
        value = abs(g)
        if i == 1:
            value = abs(u)
        elif i == 2 and g < 0:
            value = abs(a)
        elif i >= 2:
            value = abs(p)
        at = (first + i) * BLOCK + j
        if value > bar[at]:
            bar[at] = value
            where[at] = position


@nb.njit(nogil=True, error_model="numpy")
def _flush(sums, total, low, n):
    """Move float32 sums into the float64 totals, [16, neuron]."""
    for i in range(N_SUMS):
        for j in range(n):
            total[i, low + j] += np.float64(sums[i * BLOCK + j])
    sums[:] = 0


@nb.njit(nogil=True, error_model="numpy")
def reduce_block(gate, in_, act, post, rows, lengths, low, high, count, total, magnitude, bits, row_of, position_of):
    """Take a batch of texts into the statistics of neurons `low` to `high` (at most BLOCK of them).

    gate, in_, act, post: float32 [token, neuron], texts one after another. rows, lengths: int64 [example].
    count: int64 [4, neuron]. total: float64 [16, neuron]. magnitude, row_of, position_of: [list, k, neuron], updated;
    bits: the same memory as magnitude, as int32.
    """
    n = high - low
    bar_bits = np.empty(N_LISTS * BLOCK, np.int32)
    bar = bar_bits.view(np.float32)
    where = np.full(N_LISTS * BLOCK, -1, np.int32)
    sums = np.zeros(N_SUMS * BLOCK, np.float32)
    counts = np.zeros(4 * BLOCK, np.int32)
    begin = since = 0
    for e in range(lengths.shape[0]):
        row, end = rows[e], begin + lengths[e]
        _set_bars(bits, row_of, row, low, n, bar_bits)
        noted = False
        for t in range(begin, end):
            if _tokens(gate, in_, act, post, t, 1, low, n, bar, sums, counts):
                for j in range(n):
                    i = low + j
                    _note(gate[t, i], in_[t, i], act[t, i], post[t, i], j, t - begin, bar, where)
                noted = True
            since += 1
            if since == _FLUSH:
                _flush(sums, total, low, n)
                since = 0
        if noted:
            for i in range(N_LISTS):
                for j in range(n):
                    at = i * BLOCK + j
                    if where[at] >= 0:
                        _enter(magnitude, row_of, position_of, i, low + j, bar[at], row, where[at])
            where[:] = -1
        begin = end
    _flush(sums, total, low, n)
    for c in range(4):
        for j in range(n):
            count[c, low + j] += counts[c * BLOCK + j]

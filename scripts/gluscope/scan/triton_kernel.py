# mypy: disable-error-code="no-untyped-def"
"""The reduction on a GPU, as Triton kernels: `reduce_splits` reads gate, in, act and post once, `merge_hits` lists.

A text is cut into segments, and segments that follow each other make a split (segments.py). A program of
`reduce_splits` takes a split and BLOCK neighbouring neurons, one a thread, and keeps all running numbers in registers.
Extremes start at each list's bar, so that it only writes where a segment beats one. `merge_hits` then takes some
neurons and one list a program: it enters what beat the bar, and raises the bar.

Where an extreme lies: a bfloat16 or float16 leaves the lower 13 bits of a float32 free, and a token's place in its
segment, counted from the end, stands in 9 of them. So the maximum of such marked numbers is the extreme and, of equal
ones, the first. float32 has no room: there `merge_hits` searches the segments of what stayed.

Masks are numbers, 0 or 1, by which values are multiplied: that takes half of the work off the units that compare, and
makes a sum NaN whenever one of its values is not finite, in whatever case it is. docs/decisions/gpu-reduction.md
counts instructions and bytes.
"""

from __future__ import annotations

import triton
import triton.language as tl

from gluscope.core.cases import CASES, LISTS, QUANTITIES

N_LISTS, N_SUMS, N_CASES = len(LISTS), len(CASES) * len(QUANTITIES), len(CASES)
assert (N_LISTS, N_SUMS, N_CASES) == (14, 16, 4), "tuples from `_starts` to `reduce_splits` are written for these"

# One neuron a thread and 4 warps: 128 registers hold state and addresses, so that 16 warps share an SM of an A100 or
# H100, each with UNROLL times four loads of 64 bytes (bf16) on their way: 16 KiB an SM, about what memory's speed times
# its delay asks for. Fixed, because tuning takes seconds in every job; measured on an H100 (docs/decisions).
BLOCK, WARPS = 128, 4
SEGMENT = 128  # most tokens of a segment, a power of two; it is what is searched for a position
SEGMENT_MARKED = 512  # where positions are known; at most 2^13, the free bits of a float16
TILE = 32  # tokens whose sums are added up on their own, in float32
UNROLL = tl.constexpr(4)  # tokens loaded before the first is used; `_tile` is written for this number
MOST_SEGMENTS = 31  # of a split: one bit each of an int32, without its sign
LANES = 32  # neurons of a program of `merge_hits`
CHUNK = 8  # splits whose hits it takes in together
SCAN = 8  # tokens looked at together in the search for a position

_LISTS = tl.constexpr(N_LISTS)
N_ADDED = N_SUMS + N_CASES
_ADDED = tl.constexpr(N_ADDED)
_LAST_ROW = tl.constexpr(2**32 - 1)
_FULL = tl.constexpr(2**63 - 1)
_NO_SPLIT = tl.constexpr(2**31 - 1)


@triton.jit
def _start(bars, i: tl.constexpr, neurons, column, mask):
    """Magnitude that list i asks for; where it takes anything (-1), zeros are left to `_beaten`."""
    return tl.maximum(tl.load(bars + i * neurons + column, mask=mask, other=0.0), 0.0)


@triton.jit
def _starts(bars, neurons, column, mask):
    """Signed, in the order of LISTS: what tokens have to exceed."""
    return (
        _start(bars, 0, neurons, column, mask),
        _start(bars, 1, neurons, column, mask),
        _start(bars, 2, neurons, column, mask),
        _start(bars, 3, neurons, column, mask),
        -_start(bars, 4, neurons, column, mask),
        -_start(bars, 5, neurons, column, mask),
        -_start(bars, 6, neurons, column, mask),
        _start(bars, 7, neurons, column, mask),
        -_start(bars, 8, neurons, column, mask),
        -_start(bars, 9, neurons, column, mask),
        -_start(bars, 10, neurons, column, mask),
        -_start(bars, 11, neurons, column, mask),
        -_start(bars, 12, neurons, column, mask),
        _start(bars, 13, neurons, column, mask),
    )


@triton.jit
def _token(from_, column, t: tl.constexpr):
    """The four values t tokens further on, as float32. from_: the addresses of a token, and their strides."""
    g = tl.load(from_[0] + t * from_[4] + column, eviction_policy="evict_first").to(tl.float32)
    u = tl.load(from_[1] + t * from_[5] + column, eviction_policy="evict_first").to(tl.float32)
    a = tl.load(from_[2] + t * from_[6] + column, eviction_policy="evict_first").to(tl.float32)
    p = tl.load(from_[3] + t * from_[7] + column, eviction_policy="evict_first").to(tl.float32)
    return g, u, a, p


@triton.jit
def _mark(value, code, MARKED: tl.constexpr):
    """A value with its token's code in the bits that 16-bit formats leave free."""
    if MARKED:
        value = (value.to(tl.int32, bitcast=True) | code).to(tl.float32, bitcast=True)
    return value


@triton.jit
def _step(token, code, MARKED: tl.constexpr, best, sums, counts):
    """Take a token in: 28 multiplications and additions, 18 comparisons; 8 marks.

    A mark turns a 0 of another case into the smallest of numbers, below every bar but that of a list that takes all.
    """
    g, u, a, p = token
    open_ = tl.where(g > 0, 1.0, 0.0)
    shut = tl.where(g < 0, 1.0, 0.0)
    plus = tl.where(u > 0, 1.0, 0.0)
    minus = tl.where(u < 0, 1.0, 0.0)
    # 0 where the gate, or in, has the other sign. The sign of what is left tells the case.
    g_plus, g_minus = plus * g, minus * g
    a_plus, a_minus = plus * a, minus * a
    u_open, u_shut = open_ * u, shut * u
    p_open, p_shut = open_ * p, shut * p
    gp, gm = _mark(g_plus, code, MARKED), _mark(g_minus, code, MARKED)
    ap, am = _mark(a_plus, code, MARKED), _mark(a_minus, code, MARKED)
    uo, us = _mark(u_open, code, MARKED), _mark(u_shut, code, MARKED)
    po, ps = _mark(p_open, code, MARKED), _mark(p_shut, code, MARKED)
    best = (
        tl.maximum(best[0], gp),  # gate+_in+: gate, in, post
        tl.maximum(best[1], uo),
        tl.maximum(best[2], po),
        tl.maximum(best[3], gm),  # gate+_in-: gate, in, post
        tl.minimum(best[4], uo),
        tl.minimum(best[5], po),
        tl.minimum(best[6], gp),  # gate-_in+: gate, in, act, post
        tl.maximum(best[7], us),
        tl.minimum(best[8], ap),
        tl.minimum(best[9], ps),
        tl.minimum(best[10], gm),  # gate-_in-: gate, in, act, post
        tl.minimum(best[11], us),
        tl.minimum(best[12], am),
        tl.maximum(best[13], ps),
    )
    sums = (
        sums[0] + g_plus * open_,
        sums[1] + u_open * plus,
        sums[2] + a_plus * open_,
        sums[3] + p_open * plus,
        sums[4] + g_minus * open_,
        sums[5] + u_open * minus,
        sums[6] + a_minus * open_,
        sums[7] + p_open * minus,
        sums[8] + g_plus * shut,
        sums[9] + u_shut * plus,
        sums[10] + a_plus * shut,
        sums[11] + p_shut * plus,
        sums[12] + g_minus * shut,
        sums[13] + u_shut * minus,
        sums[14] + a_minus * shut,
        sums[15] + p_shut * minus,
    )
    counts = (
        counts[0] + open_ * plus,
        counts[1] + open_ * minus,
        counts[2] + shut * plus,
        counts[3] + shut * minus,
    )
    return best, sums, counts


@triton.jit
def _tile(
    gate, in_, act, post, G: tl.constexpr, U: tl.constexpr, A: tl.constexpr, P: tl.constexpr, begin, end, last, column,
    MARKED: tl.constexpr, best, sums, counts,
):  # fmt: skip
    """Tokens `begin` to `end`, int64, of a segment in which `last` has code 0. G, U, A, P: the tensors' strides."""
    whole = begin + (end - begin) // UNROLL * UNROLL
    for t in range(begin, whole, UNROLL):
        code = (last - t).to(tl.int32)
        from_ = (gate + t * G, in_ + t * U, act + t * A, post + t * P, G, U, A, P)
        first, second = _token(from_, column, 0), _token(from_, column, 1)
        third, fourth = _token(from_, column, 2), _token(from_, column, 3)
        best, sums, counts = _step(first, code, MARKED, best, sums, counts)
        best, sums, counts = _step(second, code - 1, MARKED, best, sums, counts)
        best, sums, counts = _step(third, code - 2, MARKED, best, sums, counts)
        best, sums, counts = _step(fourth, code - 3, MARKED, best, sums, counts)
    for t in range(whole, end):
        from_ = (gate + t * G, in_ + t * U, act + t * A, post + t * P, G, U, A, P)
        code = (last - t).to(tl.int32)
        best, sums, counts = _step(_token(from_, column, 0), code, MARKED, best, sums, counts)
    return best, sums, counts


@triton.jit
def _beaten(value, count, hits, bit, bars, found, i: tl.constexpr, neurons, column, mask):
    """Note a segment's magnitude in list i, and in `hits` that it is there, where it may enter the list.

    Where a list takes anything and no token of the case is above 0, the magnitude is 0.
    """
    bar = tl.load(bars + i * neurons + column, mask=mask, other=0.0)
    enters = mask & (value > bar) & (count > 0)
    tl.store(found + i * neurons + column, value, mask=enters)
    return hits | tl.where(enters, bit, 0)


@triton.jit
def _all_beaten(best, counts, hits, bit, bars, found, neurons, column, mask):
    return (
        _beaten(best[0], counts[0], hits[0], bit, bars, found, 0, neurons, column, mask),
        _beaten(best[1], counts[0], hits[1], bit, bars, found, 1, neurons, column, mask),
        _beaten(best[2], counts[0], hits[2], bit, bars, found, 2, neurons, column, mask),
        _beaten(best[3], counts[1], hits[3], bit, bars, found, 3, neurons, column, mask),
        _beaten(-best[4], counts[1], hits[4], bit, bars, found, 4, neurons, column, mask),
        _beaten(-best[5], counts[1], hits[5], bit, bars, found, 5, neurons, column, mask),
        _beaten(-best[6], counts[2], hits[6], bit, bars, found, 6, neurons, column, mask),
        _beaten(best[7], counts[2], hits[7], bit, bars, found, 7, neurons, column, mask),
        _beaten(-best[8], counts[2], hits[8], bit, bars, found, 8, neurons, column, mask),
        _beaten(-best[9], counts[2], hits[9], bit, bars, found, 9, neurons, column, mask),
        _beaten(-best[10], counts[3], hits[10], bit, bars, found, 10, neurons, column, mask),
        _beaten(-best[11], counts[3], hits[11], bit, bars, found, 11, neurons, column, mask),
        _beaten(-best[12], counts[3], hits[12], bit, bars, found, 12, neurons, column, mask),
        _beaten(best[13], counts[3], hits[13], bit, bars, found, 13, neurons, column, mask),
    )


@triton.jit
def reduce_splits(
    gate, in_, act, post, segments, splits, bars, found, hits, partial, neurons,
    G: tl.constexpr, U: tl.constexpr, A: tl.constexpr, P: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr,
    SEGMENT: tl.constexpr, MARKED: tl.constexpr,
):  # fmt: skip
    """Grid [blocks of neurons, splits].

    gate, in_, act, post: [token, neuron], neurons side by side; G, U, A, P: numbers from a token to the next. They
    are one model's, and as constants they become parts of the load instructions.
    segments: int64 [segment, 4]: first token, tokens, position of the first in its text, row of the text.
    splits: int64 [split + 1], its first segment. bars: float32 [list, neuron], what a magnitude has to exceed.
    Written: partial float32 [split, 16 sums and 4 counts, neuron]; hits int32 [split, list, neuron], a bit a segment
    that exceeds the bar; and there found float32 [segment, list, neuron], its magnitude, marked if MARKED.
    """
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    split = tl.program_id(1)
    mask = column < neurons
    read = tl.minimum(column, neurons - 1)  # so that loads need no mask
    first = tl.load(splits + split)
    last = tl.load(splits + split + 1)
    nothing = tl.full([BLOCK], 0.0, tl.float32)
    none = tl.full([BLOCK], 0, tl.int32)
    sums, counts, bits = (nothing,) * 16, (nothing,) * 4, (none,) * 14
    bit = tl.full([], 1, tl.int32)
    for segment in range(first, last):
        begin = tl.load(segments + segment * 4)
        end = begin + tl.load(segments + segment * 4 + 1)
        best, own = _starts(bars, neurons, column, mask), (nothing,) * 4
        for tile in range(begin, end, TILE):
            stop = tl.minimum(tile + TILE, end)
            fresh = (nothing,) * 16
            best, fresh, own = _tile(
                gate, in_, act, post, G, U, A, P, tile, stop, begin + SEGMENT - 1, read, MARKED, best, fresh, own
            )
            sums = _add16(sums, fresh)
        to = found + segment * _LISTS * neurons
        bits = _all_beaten(best, own, bits, bit, bars, to, neurons, column, mask)
        bit *= 2
        counts = (counts[0] + own[0], counts[1] + own[1], counts[2] + own[2], counts[3] + own[3])
    to = partial + split.to(tl.int64) * _ADDED * neurons + column
    for i in tl.static_range(16):
        tl.store(to + i * neurons, sums[i], mask=mask)
    for i in tl.static_range(4):
        tl.store(to + (16 + i) * neurons, counts[i], mask=mask)
    to = hits + split.to(tl.int64) * _LISTS * neurons + column
    for i in tl.static_range(14):
        tl.store(to + i * neurons, bits[i], mask=mask)


@triton.jit
def _add16(x, y):
    return (
        x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3], x[4] + y[4], x[5] + y[5], x[6] + y[6], x[7] + y[7],
        x[8] + y[8], x[9] + y[9], x[10] + y[10], x[11] + y[11], x[12] + y[12], x[13] + y[13], x[14] + y[14],
        x[15] + y[15],
    )  # fmt: skip


@triton.jit
def _search(
    gate, in_, act, post, G: tl.constexpr, U: tl.constexpr, A: tl.constexpr, P: tl.constexpr, signs, i, begin, tokens,
    column, wanted, magnitude, SEGMENT: tl.constexpr, SCAN: tl.constexpr,
):  # fmt: skip
    """The first of a segment's tokens, a segment a lane, that is in list i's case and has the magnitude; else SEGMENT.

    signs: int32 [list, 3]: gate's, in's, quantity. wanted: lanes that look for one.
    """
    gate_sign = tl.load(signs + i * 3).to(tl.float32)
    in_sign = tl.load(signs + i * 3 + 1).to(tl.float32)
    quantity = tl.load(signs + i * 3 + 2)
    where = tl.where(wanted, SEGMENT, 0)
    for t in range(0, SEGMENT, SCAN):
        steps = t + tl.arange(0, SCAN)[:, None]
        there = (where == SEGMENT)[None, :] & (steps < tokens[None, :])
        token, across = begin[None, :] + steps, column[None, :]
        g = tl.load(gate + token * G + across, mask=there, other=0.0).to(tl.float32)
        u = tl.load(in_ + token * U + across, mask=there, other=0.0).to(tl.float32)
        a = tl.load(act + token * A + across, mask=there & (quantity == 2), other=0.0).to(tl.float32)
        p = tl.load(post + token * P + across, mask=there & (quantity == 3), other=0.0).to(tl.float32)
        value = tl.where(quantity == 0, g, tl.where(quantity == 1, u, tl.where(quantity == 2, a, p)))
        hit = there & (g * gate_sign > 0) & (u * in_sign > 0) & (tl.abs(value) == magnitude[None, :])
        where = tl.minimum(where, tl.min(tl.where(hit, steps, SEGMENT), 0))
    return where


# One code for any number of splits. `neurons` is not looked at for multiples of 16, so that a thread loads one number
# of a row: what is taken along K then lies in one thread, and no threads talk to each other.
@triton.jit(do_not_specialize=["n_splits", "k", "neurons"])
def merge_hits(
    gate, in_, act, post, segments, splits, n_splits, signs, bars, found, hits, keys, positions, neurons, k,
    G: tl.constexpr, U: tl.constexpr, A: tl.constexpr, P: tl.constexpr,
    SEGMENT: tl.constexpr, SCAN: tl.constexpr, CHUNK: tl.constexpr, K: tl.constexpr, LANES: tl.constexpr,
    MARKED: tl.constexpr,
):  # fmt: skip
    """Grid [groups of LANES neurons, lists]. Enters what `reduce_splits` found.

    keys: int64 [list, k, neuron], a magnitude's bits above those of 2^32 - 1 - row, so that the higher one comes first;
    below 0: unfilled. positions: int32, likewise. Neither is sorted along k. K: a power of 2 that is not below k.
    """
    column = tl.program_id(0) * LANES + tl.arange(0, LANES)
    i = tl.program_id(1)
    mask = column < neurons
    hits += i * neurons + column[None, :]
    found += i * neurons + column
    seen = tl.full([LANES], 0, tl.int32)
    for chunk in range(0, n_splits, CHUNK):
        split = chunk + tl.arange(0, CHUNK)[:, None]
        there = (split < n_splits) & mask[None, :]
        seen = tl.maximum(seen, tl.max(tl.load(hits + split * _LISTS * neurons, mask=there, other=0), 0))
    if tl.max(seen, 0) > 0:
        place = tl.arange(0, K)[:, None]
        real = (place < k) & mask[None, :]
        at = (i * k + place).to(tl.int64) * neurons + column[None, :]
        key = tl.load(keys + at, mask=real, other=_FULL)
        key = tl.where(key < 0, -1 - place, key)  # no two are equal
        unknown = tl.full([LANES], 0, tl.int32)
        for chunk in range(0, n_splits, CHUNK):
            split = chunk + tl.arange(0, CHUNK)[:, None]
            there = (split < n_splits) & mask[None, :]
            left = tl.load(hits + split * _LISTS * neurons, mask=there, other=0)
            # Every lane takes its own hits, first to last: of equal ones the first stays.
            while tl.max(tl.max(left, 0), 0) > 0:
                own_split = tl.min(tl.where(left > 0, split, _NO_SPLIT), 0)
                chosen = split == own_split[None, :]
                bits = tl.max(tl.where(chosen, left, 0), 0)
                some = bits > 0
                lowest = bits & -bits
                left = tl.where(chosen, left ^ lowest[None, :], left)
                # A power of two: its exponent as float32 says which bit it is.
                bit = (lowest.to(tl.float32).to(tl.int32, bitcast=True) >> 23) - 127
                segment = tl.where(some, tl.load(splits + tl.where(some, own_split, 0)) + bit, 0)
                value = tl.abs(tl.load(found + segment * _LISTS * neurons, mask=some, other=0.0))  # 0 may be -0
                row = tl.load(segments + segment * 4 + 3)
                value_bits = value.to(tl.int32, bitcast=True)
                position = (-2 - segment).to(tl.int32)  # to be searched for there
                if MARKED:
                    known = tl.load(segments + segment * 4 + 2).to(tl.int32) + SEGMENT - 1
                    known -= value_bits & (SEGMENT - 1)
                    value_bits &= -SEGMENT
                    # The mark of a magnitude of 0 may be that of a token of another case.
                    position = tl.where(value_bits > 0, known, position)
                entry = (value_bits.to(tl.int64) << 32) | (_LAST_ROW - row)
                # A text that is there already, by another segment, keeps one place; another one takes the last.
                own = real & (key >= 0) & ((key & _LAST_ROW) == (entry & _LAST_ROW)[None, :])
                own_place = tl.max(tl.where(own, place, -1), 0)
                last = tl.min(key, 0)
                last_place = tl.max(tl.where(key == last[None, :], place, -1), 0)
                to = tl.where(own_place >= 0, own_place, last_place)
                target = place == to[None, :]
                enters = some & (entry > tl.max(tl.where(target, key, -_FULL), 0))
                key = tl.where(target & enters[None, :], entry[None, :], key)
                to_at = (i * k + to).to(tl.int64) * neurons + column
                tl.store(keys + to_at, entry, mask=enters)
                tl.store(positions + to_at, position, mask=enters)
                unknown |= (enters & (position < -1)).to(tl.int32)
        lowest_bits = (tl.min(key, 0) >> 32).to(tl.int32)
        # Just below the last magnitude, since an equal one of a lower row enters; -1: anything does.
        bar = tl.where(lowest_bits > 0, (lowest_bits - 1).to(tl.float32, bitcast=True), -1.0)
        tl.store(bars + i * neurons + column, bar, mask=mask)
        if tl.max(unknown, 0) > 0:
            tl.debug_barrier()  # what was stored may be another thread's to load
            place_at = (i * k).to(tl.int64) * neurons + column
            for _ in range(k):
                coded = tl.load(positions + place_at, mask=mask, other=-1)
                wanted = mask & (coded < -1)
                if tl.max(wanted.to(tl.int32), 0) > 0:
                    segment = tl.where(wanted, -2 - coded, 0).to(tl.int64)
                    bits = (tl.load(keys + place_at, mask=mask, other=0) >> 32).to(tl.int32)
                    where = _search(
                        gate, in_, act, post, G, U, A, P, signs, i, tl.load(segments + segment * 4),
                        tl.load(segments + segment * 4 + 1), column, wanted,
                        bits.to(tl.float32, bitcast=True), SEGMENT, SCAN,
                    )  # fmt: skip
                    known = tl.load(segments + segment * 4 + 2) + where
                    tl.store(positions + place_at, known.to(tl.int32), mask=wanted)
                place_at += neurons

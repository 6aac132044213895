"""The sample of tokens, against a hash in plain Python integers."""

from __future__ import annotations

import numpy as np
import pytest
from gluscope.scan import sample
from gluscope.scan.sample import choose_sample, token_hash

MASK = 2**64 - 1


def mixed(state: int) -> int:
    """Output of splitmix64 whose state has been advanced to `state`."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & MASK
    return state ^ (state >> 31)


def hashed(seed: int, row: int, position: int) -> int:
    key = 0
    for part in (seed, row, position):
        key = mixed(((key ^ part & MASK) + 0x9E3779B97F4A7C15) & MASK)
    return key


def test_the_mixing_is_splitmix64() -> None:
    """The first outputs of the published generator with seed 1234567."""
    states = [(1234567 + n * 0x9E3779B97F4A7C15) & MASK for n in (1, 2, 3)]
    assert [mixed(state) for state in states] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", [0, 1, 2512800, -1])
def test_hash_is_the_same_on_every_machine(seed: int) -> None:
    rows, positions = np.array([0, 0, 1, 123456, 2**31]), np.array([0, 1, 0, 1023, 7])
    expected = [hashed(seed, int(row), int(position)) for row, position in zip(rows, positions, strict=True)]
    assert token_hash(seed, rows, positions).tolist() == expected


@pytest.mark.parametrize("count", [0, 1, 10, 99, 1000])
@pytest.mark.parametrize("block", [1, 7, 1 << 22])
def test_the_smallest_hashes_win(monkeypatch: pytest.MonkeyPatch, count: int, block: int) -> None:
    monkeypatch.setattr(sample, "_BLOCK", block)
    lengths = np.random.default_rng(0).integers(1, 12, 40)
    tokens = [(row, position) for row, length in enumerate(lengths) for position in range(length)]
    expected = sorted(sorted(tokens, key=lambda token: hashed(5, *token))[:count])
    chosen = choose_sample(5, lengths, count)
    assert list(zip(chosen.example.tolist(), chosen.position.tolist(), strict=True)) == expected
    assert (chosen.example.dtype, chosen.position.dtype) == (np.int64, np.int32)


def test_tokens_are_equally_likely_wherever_they_stand() -> None:
    lengths = np.full(400, 50)
    chosen = choose_sample(1, lengths, 4000)
    assert np.bincount(chosen.position, minlength=50).std() < 3 * np.sqrt(80)
    assert 1900 < (chosen.example < 200).sum() < 2100


def test_another_seed_chooses_others() -> None:
    lengths = np.full(100, 100)
    one, other = (choose_sample(seed, lengths, 100) for seed in (0, 1))
    assert not np.array_equal(one.example, other.example)


def test_no_texts() -> None:
    assert len(choose_sample(0, np.zeros(0, np.int64), 10).example) == 0

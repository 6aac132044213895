"""The file of recomputed values: exact, whole or not there, refused when damaged; never a pickle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.errors import StoreError
from gluscope.recompute.types import Recomputed


def example() -> Recomputed:
    rng = np.random.default_rng(0)
    rows, lengths = np.array([2, 7, 30]), np.array([3, 1, 4])
    gate, in_ = rng.standard_normal((2, 8)).astype(np.float32)
    return Recomputed(5, 10602, rows, lengths, gate, in_, "cache", "float16", 3.5, 2.25)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    before = example()
    before.save(tmp_path / "deep" / "N10602.npz")
    after = Recomputed.read(tmp_path / "deep" / "N10602.npz")
    for name in Recomputed.__dataclass_fields__:
        old, new = getattr(before, name), getattr(after, name)
        assert type(old) is type(new)
        np.testing.assert_array_equal(old, new)
        if isinstance(old, np.ndarray):
            assert old.dtype == new.dtype
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["N10602.npz"]


def test_values_by_row_and_position() -> None:
    found = example()
    gate, in_ = found.values(np.array([30, 2, 7]), np.array([3, 1, 0]))
    np.testing.assert_array_equal(gate, found.gate[[7, 1, 3]])
    np.testing.assert_array_equal(in_, found.in_[[7, 1, 3]])
    assert found.has(7, 0)
    assert not any(found.has(*token) for token in ((7, 1), (8, 0), (31, 0), (0, 0), (30, 4), (30, -1)))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(example().gate[4]).tobytes())] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def pickle(path: Path) -> None:
    np.savez(path, format=np.array([object()], dtype=object))


def other(path: Path) -> None:
    np.savez(path, gate=np.zeros(3))


@pytest.mark.parametrize("damage", [cut, flip_bit, empty, pickle, other, Path.unlink])
def test_damage_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "N1.npz"
    example().save(path)
    damage(path)
    with pytest.raises(StoreError, match=r"N1\.npz"):
        Recomputed.read(path)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "N1.npz"
    example().save(path)
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", lambda file, **_: (file.write(b"half"), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        example().save(path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["N1.npz"]

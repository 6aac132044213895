"""The residual cache: its bytes do not depend on the batches, others read it too, damage is refused."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.cache import appender
from gluscope.cache.appender import CHUNK, LayerFile
from gluscope.cache.reader import CacheReader
from gluscope.cache.writer import CacheWriter
from gluscope.core.errors import ModelError, StoreError
from helpers.checkout import REPO
from helpers.damage import check_cuts, check_flips, files_of
from hypothesis import given, settings
from hypothesis import strategies as st

N_LAYERS, D_MODEL = 2, 6


def values(tokens: int, dtype: str, d_model: int = D_MODEL, n_layers: int = N_LAYERS) -> np.ndarray:
    """[layer, token, d_model], finite, of both signs, small and large; bfloat16 as its bits."""
    rng = np.random.default_rng(tokens)
    x = (rng.normal(size=(n_layers, tokens, d_model)) * 10.0 ** rng.integers(-7, 4, (n_layers, tokens, 1))).astype("f4")
    return x.astype(np.float16) if dtype == "float16" else (x.view(np.uint32) >> 16).astype(np.uint16)


def as_float32(stored: np.ndarray) -> np.ndarray:
    if stored.dtype == np.float16:
        return stored.astype(np.float32)
    return (stored.astype(np.uint32) << 16).view(np.float32)


def write(path: Path, x: np.ndarray, lengths: Iterable[int], cuts: Iterable[int] = (), **more: Any) -> Path:
    """A cache of texts with rows 100, 99, ..., handed over in parts that end at `cuts`."""
    lengths = np.array(list(lengths), np.int64)
    dtype = "float16" if x.dtype == np.float16 else "bfloat16"
    how: dict[str, Any] = {"n_layers": len(x), "d_model": x.shape[2], "dtype": dtype, "attributes": {"model": "m"}}
    with CacheWriter(path, rows=100 - np.arange(len(lengths)), lengths=lengths, **how | more) as cache:
        edges = sorted({0, *cuts, x.shape[1]})
        for begin, end in pairwise(edges):
            for layer in range(len(x)):
                cache.append(layer, x[layer, begin:end])
    return path


def texts(path: Path) -> list[np.ndarray]:
    """Everything that a cache gives."""
    with CacheReader(path) as cache:
        found = [cache.rows, cache.lengths, np.array(sorted(cache.attributes.items()))]
        return found + [cache.read(layer, row) for layer in range(cache.n_layers) for row in cache.rows]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("lengths", [[1], [CHUNK], [CHUNK + 1, 3], [300, 200, 64, 64, 7, 1, 1], [5] * 40])
def test_round_trip(tmp_path: Path, dtype: str, lengths: list[int]) -> None:
    x = values(sum(lengths), dtype)
    with CacheReader(write(tmp_path / "c.zarr", x, lengths, [1, 2, 70])) as cache:
        assert (cache.n_layers, cache.tokens, cache.d_model) == x.shape
        assert (cache.dtype, cache.attributes) == (dtype, {"model": "m", "cache_dtype": dtype})
        assert cache.rows.tolist() == [100 - place for place in range(len(lengths))]
        assert 100 in cache
        assert 101 not in cache
        for layer in range(N_LAYERS):
            for row, begin, length in zip(cache.rows, cache.offsets, cache.lengths, strict=True):
                found = cache.read(layer, row)
                assert found.dtype == np.float32
                np.testing.assert_array_equal(found, as_float32(x[layer, begin : begin + length]))


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 200), max_size=8), data=st.data())
def test_bytes_do_not_depend_on_the_batches(tmp_path_factory: pytest.TempPathFactory, lengths: list, data: Any) -> None:
    tokens = sum(lengths)
    cuts = data.draw(st.lists(st.integers(0, tokens), max_size=12))
    folder, x = tmp_path_factory.mktemp("cuts"), values(sum(lengths), "float16")
    one, many = write(folder / "one", x, lengths), write(folder / "many", x, lengths, cuts)
    assert digest(one) == digest(many)
    with CacheReader(many) as cache:
        found = [cache.read(1, row) for row in cache.rows]
    np.testing.assert_array_equal(np.concatenate([np.zeros((0, D_MODEL)), *found]), as_float32(x[1]))


def digest(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files_of(path)}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("lengths", [[], [CHUNK], [300, 200, 7]])
def test_others_read_the_same(tmp_path: Path, dtype: str, lengths: list[int]) -> None:
    import tensorstore
    import xarray
    import zarr

    path, x = tmp_path / "c.zarr", values(sum(lengths), dtype)
    write(path, x, lengths)
    np.testing.assert_array_equal(zarr.open_group(path, mode="r")["x"][:], x)
    np.testing.assert_array_equal(zarr.open_array(path / "x", mode="r")[1], x[1])
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path / 'x'}/"}}
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xarray.open_zarr(path, mask_and_scale=False)
    assert data.x.dims == ("layer", "token", "d_model")
    np.testing.assert_array_equal(data.x, x)
    np.testing.assert_array_equal(data.lengths, np.array(lengths, np.int64))
    assert data.attrs["cache_dtype"] == dtype


def test_one_file_a_layer_of_the_size_of_its_values(tmp_path: Path) -> None:
    write(tmp_path / "c", values(1000, "float16", 64), [1000])
    files = {str(file.relative_to(tmp_path / "c")): file.stat().st_size for file in files_of(tmp_path / "c")}
    assert set(files) == {
        "zarr.json", "x/zarr.json", "x/0.0.0", "x/1.0.0", "rows/zarr.json", "rows/0", "lengths/zarr.json", "lengths/0",
    }  # fmt: skip
    chunks = -(-1000 // CHUNK)
    assert files["x/0.0.0"] == files["x/1.0.0"] == chunks * (CHUNK * 64 * 2 + 4 + 16) + 16 + 4


def test_a_text_takes_its_own_chunks_only(tmp_path: Path) -> None:
    lengths = [400] * 50
    with CacheReader(write(tmp_path / "c", values(20000, "float16", 32), lengths)) as cache:
        cache.read(1, 100)
        before = cache.bytes_read
        cache.read(1, 80)
        assert cache.bytes_read - before <= (400 + 2 * CHUNK) * 32 * 2 + 4 * 9
        assert cache.bytes_read <= 2 * (400 + 2 * CHUNK) * 32 * 2 + 16 * (20000 / CHUNK + 2) + 2 * 8 * 60


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_text_in_parts_is_the_text(tmp_path: Path, dtype: str) -> None:
    lengths = [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 2]
    with CacheReader(write(tmp_path / "c", values(sum(lengths), dtype, 32), lengths)) as cache:
        for row in cache.rows.tolist():
            parts = [(at, part.copy()) for at, part in cache.parts(1, row)]
            assert [at for at, _ in parts] == np.cumsum([0, *(len(part) for _, part in parts)])[:-1].tolist()
            np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), cache.read(1, row))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_turned_bits_are_refused_or_harmless(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "c.zarr", values(150, dtype), [100, 49, 1])
    # Bits of zarr.json's blanks and of the arrays' own metadata, which are for other programs, are harmless.
    assert check_flips(path, lambda: texts(path), np.random.default_rng(4), 40) > 4 * 40


def test_every_value_stands_under_a_checksum(tmp_path: Path) -> None:
    path = write(tmp_path / "c.zarr", values(CHUNK + 1, "float16", 2, 1), [CHUNK + 1])
    file = path / "x/0.0.0"
    data = file.read_bytes()
    for byte in range(0, len(data), 3):
        file.write_bytes(data[:byte] + bytes([data[byte] ^ 16]) + data[byte + 1 :])
        with pytest.raises(StoreError, match=r"c\.zarr: x/0\.0\.0: expected"):
            texts(path)


def test_cut_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "c.zarr", values(150, "float16"), [100, 49, 1])
    check_cuts(path, lambda: texts(path), lambda file: file.name != "zarr.json" or file.parent == path)
    with pytest.raises(StoreError, match="expected a cache, found no such file"):
        CacheReader(tmp_path / "none")


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_values_that_float16_lacks_are_refused_by_layer(tmp_path: Path, value: float) -> None:
    x = values(100, "float16")
    x[1, 99, 3] = value
    with pytest.raises(ModelError, match=r"layer 1: .*65504.*set cache_dtype: bfloat16"):
        write(tmp_path / "c", x, [100])
    x[1, 99, 3] = 65504
    write(tmp_path / "c", x, [100])
    bits = values(100, "bfloat16")
    bits[0, 0, 0] = np.float32(value).view(np.uint32) >> 16
    with pytest.raises(ModelError, match="layer 0: expected finite"):
        write(tmp_path / "d", bits, [100])
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_what_does_not_fit_the_announcement_is_not_written(tmp_path: Path) -> None:
    x = values(10, "float16")
    for lengths in ([9], [11], [10, 1]):
        with pytest.raises(ValueError, match="announced"):
            write(tmp_path / "c", x, lengths)
    for wrong in (x[:, :, :5], x.astype(np.float32), x.view(np.uint16)):
        with pytest.raises(ValueError, match="for a cache of"):
            write(tmp_path / "c", wrong, [10], dtype="float16", d_model=D_MODEL)
    with pytest.raises(ValueError, match="no cache of"):
        write(tmp_path / "c", x, [10], dtype="int8")
    assert not list(tmp_path.iterdir())


def test_any_number_of_writing_threads_gives_the_same_files(tmp_path: Path) -> None:
    x = values(200, "float16", n_layers=5)
    how: dict[str, Any] = {"n_layers": 5, "d_model": D_MODEL, "dtype": "float16", "attributes": {}}
    for threads in (1, 3, 7):
        with CacheWriter(
            tmp_path / str(threads), rows=np.array([0]), lengths=np.array([200]), threads=threads, **how
        ) as cache:
            for begin in range(0, 200, 30):
                for layer in range(5):
                    cache.append(layer, x[layer, begin : begin + 30])
    one, *others = ({file.name: file.read_bytes() for file in (tmp_path / str(n) / "x").iterdir()} for n in (1, 3, 7))
    assert len(one) == 6
    assert all(other == one for other in others)


def test_an_error_of_the_writing_thread_surfaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fail(self: LayerFile, x: np.ndarray) -> None:
        failed.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LayerFile, "append", fail)
    x = values(100, "float16")
    with pytest.raises(StoreError, match="room to write it"):
        write(tmp_path / "c", x, [100])  # at the end at the latest
    monkeypatch.setattr(appender, "BACKLOG", 10)  # every append waits for the one before
    with pytest.raises(StoreError, match="room to write it"):
        write(tmp_path / "c", x, [100], range(100))
    assert failed.is_set()
    assert not list(tmp_path.iterdir())


def test_a_slow_disk_holds_the_scan_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more waits in memory than BACKLOG, or one array."""
    waiting: list[int] = []
    real = LayerFile.append

    def slow(self: LayerFile, x: np.ndarray) -> None:
        waiting.append(handed[0] - self.tokens)
        real(self, x)

    handed = [0]
    monkeypatch.setattr(LayerFile, "append", slow)
    monkeypatch.setattr(appender, "BACKLOG", 4 * 10 * D_MODEL * 2)
    x = values(1000, "float16", n_layers=1)
    how: dict[str, Any] = {"n_layers": 1, "d_model": D_MODEL, "dtype": "float16", "attributes": {}}
    with CacheWriter(tmp_path / "c", rows=np.array([0]), lengths=np.array([1000]), **how) as cache:
        for begin in range(0, 1000, 10):
            cache.append(0, x[0, begin : begin + 10])
            handed[0] += 10
    assert max(waiting) <= 50
    assert len(texts(tmp_path / "c")) == 4


def test_an_equal_cache_made_meanwhile_stays(tmp_path: Path) -> None:
    x = values(100, "float16")
    for same in (True, False):
        path = tmp_path / str(same)
        inode = write(path, x, [100], attributes={"model": "m" if same else "other"}).stat().st_ino
        assert (write(path, x, [100]).stat().st_ino == inode) == same
        (path / "x/1.0.0").write_bytes(b"short")
        write(path, x, [100])
        np.testing.assert_array_equal(texts(path)[-1], as_float32(x[1]))


FULL = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import numpy as np, signal
from gluscope.core.errors import StoreError
from gluscope.cache.writer import CacheWriter
from gluscope.summary.file import write_summary
from gluscope.summary.types import LayerSummary, SampleTokens
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
def cache():
    how = dict(n_layers=1, d_model=64, dtype="float16", attributes={})
    with CacheWriter(sys.argv[2] + "/c", rows=np.array([0]), lengths=np.array([2000]), **how) as cache:
        cache.append(0, np.zeros((2000, 64), np.float16))
def summary():
    layer, sample = LayerSummary.empty(300, 16), SampleTokens(np.zeros(0, np.int64), np.zeros(0, np.int32))
    write_summary(sys.argv[2] + "/s" + form, [layer], n_layers=1, sample=sample, attributes={})
for write, form in ((cache, ""), (summary, ""), (summary, ".zip")):
    try:
        write()
    except StoreError as error:
        print(error)
"""


def test_a_full_disk_leaves_nothing_and_is_one_line(tmp_path: Path) -> None:
    """The system refuses to write on, as it does on a full disk."""
    command = [sys.executable, "-c", FULL, str(REPO / "scripts"), str(tmp_path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == 3
    assert all("expected room to write it, found File too large. Next: free some" in line for line in lines)
    assert not list(tmp_path.iterdir())

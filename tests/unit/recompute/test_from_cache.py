"""Values from a cache against float64, with the error that number formats allow, derived and not guessed."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from gluscope.cache.reader import CacheReader
from gluscope.cache.writer import CacheWriter
from gluscope.core.errors import StoreError
from gluscope.core.precision import UNIT_ROUNDOFF
from gluscope.model.rows import WeightRows
from gluscope.recompute.from_cache import from_cache
from gluscope.recompute.types import Recomputed
from helpers.tiny_weights import make_weights

D_MODEL, N_LAYERS = 48, 2


class Run:
    """Random x of some texts, cut into two shards, in caches; and a model's weights."""

    def __init__(self, folder: Path, dtype: str, bias: bool) -> None:
        rng = np.random.default_rng(4)
        self.dtype = dtype
        self.spec = make_weights(folder / "model", n_layers=N_LAYERS, d_model=D_MODEL, bias=bias)
        self.weights = WeightRows(self.spec)
        self.lengths = {row: int(length) for row, length in enumerate(rng.integers(1, 300, 40))}
        self.x = {
            row: rng.standard_normal((N_LAYERS, n, D_MODEL)).astype(np.float32) for row, n in self.lengths.items()
        }
        self.folders = [folder / "0000.zarr", folder / "0001.zarr"]
        for path, rows in zip(self.folders, (range(17), range(17, 40)), strict=True):
            self.write(path, sorted(rows, key=lambda row: (-self.lengths[row], row)))

    def write(self, path: Path, rows: list[int]) -> None:
        lengths = np.array([self.lengths[row] for row in rows])
        about = {"model_revision": self.spec.revision}
        how = {"n_layers": N_LAYERS, "d_model": D_MODEL, "dtype": self.dtype}
        with CacheWriter(path, rows=np.array(rows), lengths=lengths, attributes=about, **how) as writer:
            for row in rows:
                for layer in range(N_LAYERS):
                    writer.append(layer, self.stored(self.x[row][layer]))

    def stored(self, x: np.ndarray) -> np.ndarray:
        return x.astype(np.float16) if self.dtype == "float16" else x.astype(ml_dtypes.bfloat16).view(np.uint16)

    def readers(self) -> list[CacheReader]:
        return [CacheReader(folder) for folder in self.folders]

    def check(self, found: Recomputed, rows: list[int]) -> None:
        """Every value, for x as it was before it was stored."""
        assert found.rows.tolist() == rows
        assert found.lengths.tolist() == [self.lengths[row] for row in rows]
        x = np.concatenate([self.x[row][found.layer] for row in rows]).astype(np.float64)
        weights, where = self.weights, (found.layer, found.neuron)
        pairs = (
            (found.gate, weights.gate(*where), weights.bias_gate(*where), found.gate_bound),
            (found.in_, weights.in_(*where), weights.bias_in(*where), found.in_bound),
        )
        for values, vector, bias, bound in pairs:
            w = vector.astype(np.float64)
            assert values.dtype == np.float32
            assert np.abs(values - (x @ w + bias)).max() > 0, "stored in half precision, so not exact"
            assert (np.abs(values - (x @ w + bias)) <= rounding(np.abs(x) @ np.abs(w) + abs(bias), self.dtype)).all()
            largest = np.linalg.norm(x, axis=1).max() * np.linalg.norm(w) + abs(bias)
            assert bound == pytest.approx(largest, rel=0.01)


def rounding(terms: np.ndarray, dtype: str) -> np.ndarray:
    """Largest error of sum(x * w) + b whose terms' absolute values add up to `terms`.

    x is rounded to `dtype` once: a relative error of u in each term. The float32 sum of D_MODEL products and a bias
    adds at most (D_MODEL + 1) roundings of its own, of values not larger than `terms` (Higham 2002, chapter 3).
    """
    sums = (D_MODEL + 2) * UNIT_ROUNDOFF["float32"]
    return terms * (UNIT_ROUNDOFF[dtype] + sums * (1 + UNIT_ROUNDOFF[dtype]))


@pytest.fixture(scope="module", params=[("float16", False), ("bfloat16", True)], ids=["float16", "bfloat16-bias"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("cache"), *request.param)


def test_one_neuron_from_two_shards(run: Run) -> None:
    rows = [39, 3, 3, 16, 17, 0]
    (found,) = from_cache(run.weights, run.readers(), 1, {7: np.array(rows)}).values()
    run.check(found, [0, 3, 16, 17, 39])
    assert (found.source, found.dtype, found.layer, found.neuron) == ("cache", run.dtype, 1, 7)


def test_many_neurons_are_what_each_is_alone(run: Run) -> None:
    rng = np.random.default_rng(5)
    wanted = {neuron: rng.choice(40, size=6, replace=False) for neuron in (0, 3, 11, 23)}
    together = from_cache(run.weights, run.readers(), 0, wanted)
    for neuron, rows in wanted.items():
        run.check(together[neuron], sorted(rows.tolist()))
        alone = from_cache(run.weights, run.readers(), 0, {neuron: rows})[neuron]
        assert together[neuron].gate_bound == alone.gate_bound
        # a product with another number of columns may add up in another order
        np.testing.assert_allclose(together[neuron].gate, alone.gate, atol=1e-6 * alone.gate_bound)
        np.testing.assert_allclose(together[neuron].in_, alone.in_, atol=1e-6 * alone.in_bound)


def test_any_number_of_threads_gives_the_same_numbers(run: Run) -> None:
    wanted = {7: np.arange(40), 3: np.arange(0, 40, 3)}
    for some in (wanted, {7: wanted[7]}):
        one, five = (from_cache(run.weights, run.readers(), 1, some, threads) for threads in (1, 5))
        for neuron in some:
            np.testing.assert_array_equal(one[neuron].gate, five[neuron].gate)
            np.testing.assert_array_equal(one[neuron].in_, five[neuron].in_)
            assert one[neuron].gate_bound == five[neuron].gate_bound


def test_compiled_conversion_gives_the_same_numbers(run: Run) -> None:
    wanted = {7: np.arange(40)}
    plain = from_cache(run.weights, run.readers(), 1, wanted)[7]
    compiled = from_cache(run.weights, [CacheReader(folder, compiled=True) for folder in run.folders], 1, wanted, 2)[7]
    np.testing.assert_array_equal(plain.gate, compiled.gate)
    np.testing.assert_array_equal(plain.in_, compiled.in_)
    assert plain.gate_bound == compiled.gate_bound


def test_reads_only_what_the_rows_take(run: Run) -> None:
    readers = run.readers()
    from_cache(run.weights, readers, 0, {1: np.array([5]), 2: np.array([5])})
    chunks = run.lengths[5] // 128 + 2
    index = sum(16 * (-(-reader.tokens // 128)) + 4 for reader in readers)
    assert sum(reader.bytes_read for reader in readers) <= chunks * (128 * D_MODEL * 2 + 4) + index


def test_no_rows_and_missing_rows(run: Run) -> None:
    assert from_cache(run.weights, run.readers(), 0, {}) == {}
    (found,) = from_cache(run.weights, run.readers(), 0, {4: np.zeros(0, np.int64)}).values()
    assert (len(found.rows), len(found.gate), len(found.in_)) == (0, 0, 0)
    with pytest.raises(StoreError, match="text 40"):
        from_cache(run.weights, run.readers(), 0, {4: np.array([2, 40])})
    with pytest.raises(StoreError, match="text 17"):
        from_cache(run.weights, run.readers()[:1], 0, {4: np.array([17])})
    with pytest.raises(StoreError, match="text 1"):
        from_cache(run.weights, [], 0, {4: np.array([1])})


def test_a_damaged_chunk_is_refused(run: Run, tmp_path: Path) -> None:
    run.write(tmp_path / "0000.zarr", [4, 5])
    file = tmp_path / "0000.zarr" / "x" / "1.0.0"
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)
    reader = CacheReader(tmp_path / "0000.zarr")
    from_cache(run.weights, [reader], 0, {4: np.array([4])})
    for wanted in ({4: np.array([4, 5])}, {3: np.array([4]), 4: np.array([4, 5])}):
        with pytest.raises(StoreError, match=r"1\.0\.0"):
            from_cache(run.weights, [reader], 1, wanted, threads=2)

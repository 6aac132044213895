"""Summaries: what is written is what is read, by this program and by others, and damage is refused."""

from __future__ import annotations

import warnings
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.errors import StoreError
from gluscope.core.schema import PER_RUN, SUMMARY
from gluscope.summary.file import SummaryReader, write_summary
from gluscope.summary.types import LayerSummary, SampleTokens
from helpers.damage import altered, check_cuts, check_flips, flip, refused_or_equal
from helpers.summaries import (
    FIELDS,
    assert_equal,
    random_layer,
    random_sample,
    read_attributes,
    read_layer,
    read_layers,
    read_neuron,
    read_sample,
    read_sign,
)

N_LAYERS, NEURONS, K, SAMPLES = 3, 37, 4, 5
ATTRIBUTES = {"model": "a/b", "rows": 12, "umlaut": "Grüße\n", "nested": {"x": [1, None, 0.1]}}


class Made:
    """A summary in both forms, and what is in it."""

    def __init__(self, folder: Path, neurons: int = NEURONS, k: int = K, samples: int = SAMPLES) -> None:
        rng = np.random.default_rng(1)
        self.layers = [random_layer(rng, neurons, k, samples, range(100)) for _ in range(N_LAYERS)]
        self.sample = random_sample(rng, samples, range(100))
        self.sign = rng.choice(np.array([-1, 1], np.int8), (N_LAYERS, neurons))
        self.paths = [folder / "shard.zarr.zip", folder / "run.zarr"]
        for path in self.paths:
            how = {"n_layers": N_LAYERS, "sample": self.sample, "attributes": ATTRIBUTES, "sign": self.sign}
            write_summary(path, iter(self.layers), **how)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("summary"))


@pytest.mark.parametrize("form", [0, 1])
def test_round_trip(made: Made, form: int) -> None:
    path = made.paths[form]
    for layer, (written, found) in enumerate(zip(made.layers, read_layers(path), strict=True)):
        assert_equal(found, written)
        assert_equal(read_layer(path, layer), written)
        for neuron in range(NEURONS):
            assert_equal(read_neuron(path, layer, neuron), written.neuron(neuron))
    assert read_attributes(path) == ATTRIBUTES
    np.testing.assert_equal(asdict(read_sample(path)), asdict(made.sample))
    np.testing.assert_array_equal(read_sign(path), made.sign)
    for layer, neuron in ((-1, 0), (N_LAYERS, 0), (0, -1), (0, NEURONS)):
        with pytest.raises(IndexError):
            read_neuron(path, layer, neuron)


@pytest.mark.parametrize("sizes", [(1, 1, 0), (5, 1, 1), (3, 0, 2)])
def test_small_and_empty_sizes(tmp_path: Path, sizes: tuple[int, int, int]) -> None:
    made = Made(tmp_path, *sizes)
    for path in made.paths:
        for layer, written in enumerate(made.layers):
            assert_equal(read_layer(path, layer), written)
            assert_equal(read_neuron(path, layer, 0), written.neuron(0))
        assert read_sample(path).example.shape == (sizes[2],)
        assert opened_by_zarr(path)["count"].shape == (N_LAYERS, sizes[0], 4)


def opened_by_zarr(path: Path) -> Any:
    import zarr

    return zarr.open_group(zarr.storage.ZipStore(path, mode="r") if path.suffix == ".zip" else path, mode="r")


@pytest.mark.parametrize("form", [0, 1])
def test_zarr_reads_the_same(made: Made, form: int) -> None:
    group = opened_by_zarr(made.paths[form])
    assert sorted(group.array_keys()) == sorted([*SUMMARY, *PER_RUN, "case", "quantity"])
    for name, stored in (SUMMARY | PER_RUN).items():
        array = group[name]
        assert (array.metadata.dimension_names, str(array.dtype)) == (stored.dims, stored.dtype), name
        np.testing.assert_equal(np.float64(array.fill_value), np.float64(stored.fill))
        assert dict(array.attrs) == {"unit": stored.unit, "meaning": stored.meaning}
    for name in FIELDS:
        np.testing.assert_array_equal(group[name][:], np.stack([getattr(layer, name) for layer in made.layers]))
    np.testing.assert_array_equal(group["sign"][:], made.sign)


def test_xarray_shows_dimensions_and_labels_without_warnings(made: Made) -> None:
    import xarray

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = xarray.open_zarr(made.paths[1])
        assert dict(data.sizes) == {
            "layer": N_LAYERS, "neuron": NEURONS, "case": 4, "quantity": 4, "k": K, "sample": SAMPLES,
        }  # fmt: skip
        assert data.case.values.tolist() == ["gate+_in+", "gate+_in-", "gate-_in+", "gate-_in-"]
        assert data.quantity.values.tolist() == ["gate", "in", "act", "post"]
        found = data["sum"].sel(layer=2, neuron=36, case="gate-_in+", quantity="post")
        assert float(found) == made.layers[2].sum[36, 2, 3]
        assert data.attrs["model"] == "a/b"
        assert {name: str(data[name].dtype) for name in SUMMARY} == {name: SUMMARY[name].dtype for name in SUMMARY}


def test_tensorstore_reads_the_same(made: Made) -> None:
    import tensorstore

    for name in FIELDS:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{made.paths[1] / name}/"}}
        found = tensorstore.open(spec).result().read().result()
        np.testing.assert_array_equal(found, np.stack([getattr(layer, name) for layer in made.layers]))


def test_equal_statistics_make_equal_files(made: Made, tmp_path: Path) -> None:
    again = Made(tmp_path)
    assert again.paths[0].read_bytes() == made.paths[0].read_bytes()


def test_few_files_and_few_bytes_a_neuron(tmp_path: Path) -> None:
    """Of a layer of OLMo-7B's width, with 4096 samples."""
    layer = LayerSummary.empty(11008, 16, 4096)
    sample = SampleTokens(np.arange(4096), np.zeros(4096, np.int32))
    write_summary(tmp_path / "s", [layer], n_layers=1, sample=sample, attributes={}, sign=np.ones((1, 11008), np.int8))
    assert len([path for path in (tmp_path / "s").rglob("*") if path.is_file()]) == 1 + 12 + 12
    reader = SummaryReader(tmp_path / "s")
    reader.neuron(0, 10602)
    assert 90_000 < reader.bytes_read < 200_000


@pytest.mark.parametrize("form", [0, 1])
def test_turned_bits_are_refused_or_harmless(made: Made, form: int) -> None:
    path = made.paths[form]
    rng = np.random.default_rng(2)

    def read() -> object:
        whole = [asdict(layer) for layer in read_layers(path)]
        one = [asdict(read_neuron(path, 2, neuron)) for neuron in (0, 20, 36)]
        return whole, one, asdict(read_sample(path)), read_sign(path), read_attributes(path)

    assert check_flips(path, read, rng, (120, 3)[form]) > (80, 50)[form]


def test_turned_bits_of_the_metadata_are_refused_or_harmless(made: Made) -> None:
    file = made.paths[1] / "zarr.json"
    data, whole, refused = file.read_bytes(), SummaryReader(made.paths[1]), 0
    bits = [*range(8 * 60, 8 * 260, 11), *np.random.default_rng(3).integers(0, 8 * len(data), 100).tolist()]

    def read() -> object:
        reader = SummaryReader(made.paths[1])
        return reader.attributes, reader.arrays

    for bit in bits:
        with altered(file, flip(data, bit)):
            refused += refused_or_equal(read, (whole.attributes, whole.arrays))
    assert refused > 0.7 * len(bits)


@pytest.mark.parametrize("form", [0, 1])
def test_cut_and_missing_files_are_refused(made: Made, form: int) -> None:
    path = made.paths[form]

    def read() -> object:
        return [asdict(layer) for layer in read_layers(path)], asdict(read_sample(path)), read_sign(path)

    def needed(file: Path) -> bool:
        """The labels and each array's own metadata are for other programs."""
        return file == path / "zarr.json" or (file.name != "zarr.json" and file.parent.name not in ("case", "quantity"))

    check_cuts(path, read, needed)


def test_a_missing_chunk_inside_a_file_is_not_read_as_empty(made: Made, tmp_path: Path) -> None:
    """Zarr marks it in the index, with a checksum that is right, and gives the fill value."""
    import zarr

    path = tmp_path / "holes"
    path.mkdir()
    for file in made.paths[1].rglob("*"):
        target = path / file.relative_to(made.paths[1])
        target.mkdir() if file.is_dir() else target.write_bytes(file.read_bytes())
    array = zarr.open_group(path, mode="a")["count"]
    chunk = array.metadata.codecs[0].chunk_shape[1]
    with zarr.config.set({"array.write_empty_chunks": False}):
        zarr.open_group(path, mode="a")["count"][1, :chunk] = 0
    assert not zarr.open_group(path, mode="r")["count"][1, :chunk].any()
    for read in (lambda: read_layer(path, 1), lambda: read_neuron(path, 1, 0), lambda: read_neuron(path, 1, 36)):
        with pytest.raises(StoreError, match=r"count/1\.0\.0: expected .* chunks one after another, found gaps"):
            read()


def test_a_shard_with_a_part_left_out_is_refused(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "less.zarr.zip"
    with zipfile.ZipFile(made.paths[0]) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if name != "sum/1.0.0.0":
                target.writestr(name, source.read(name))
    read_layer(path, 0)
    with pytest.raises(StoreError, match=r"sum/1\.0\.0\.0: expected this part of it, found nothing there"):
        read_layer(path, 1)


def test_what_does_not_fit_is_not_written(made: Made, tmp_path: Path) -> None:
    how: dict[str, Any] = {"sample": made.sample, "attributes": {}}
    for layers, n_layers in ((made.layers, 2), (made.layers[:1], 2), ([made.layers[0], LayerSummary.empty(3, 2)], 2)):
        for path in (tmp_path / "a.zip", tmp_path / "a"):
            with pytest.raises(ValueError, match="layer"):
                write_summary(path, layers, n_layers=n_layers, **how)
    assert not list(tmp_path.iterdir())
    with pytest.raises(StoreError, match="expected a summary, found no such file"):
        read_attributes(tmp_path / "a")
    write_summary(tmp_path / "a.zip", made.layers, n_layers=3, **how)
    with pytest.raises(StoreError, match="found a shard's, without `sign`"):
        read_sign(tmp_path / "a.zip")


def test_memory_does_not_grow_with_the_layers(tmp_path: Path) -> None:
    import tracemalloc

    peaks = []
    for n_layers in (2, 12):
        layers = (LayerSummary.empty(1000, 16, 50) for _ in range(n_layers))
        sample = SampleTokens(np.arange(50), np.zeros(50, np.int32))
        tracemalloc.start()
        write_summary(tmp_path / "a.zip", layers, n_layers=n_layers, sample=sample, attributes={})
        for _ in read_layers(tmp_path / "a.zip"):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]

"""Merging the shards of a run: any number and order, and nothing that does not belong together."""

from __future__ import annotations

import subprocess
import tracemalloc
from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.errors import ShardMismatch, StoreError
from gluscope.summary.file import write_summary
from gluscope.summary.shards import merge_shards
from gluscope.summary.types import LayerSummary, SampleTokens
from helpers.damage import flip
from helpers.merging import merge
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
    refactor,
    shard_attributes,
)

N_LAYERS, NEURONS, K = 2, 6, 3
EDGES = (0, 10, 10, 13, 30)  # a shard without rows among them
SIGN = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (N_LAYERS, NEURONS))


def write_shards(folder: Path, edges: Sequence[int] = EDGES, **more: Any) -> list[Path]:
    paths = []
    for number, (start, stop) in enumerate(pairwise(edges)):
        rng, rows = np.random.default_rng(number), range(start, stop)
        samples = min(len(rows), 3)
        layers = [random_layer(rng, NEURONS, K, samples, rows) for _ in range(N_LAYERS)]
        about = shard_attributes(rows, edges[-1], K, shard=f"{number:04d}", **more)
        sample = random_sample(rng, samples, rows)
        paths.append(folder / f"{number:04d}.zarr.zip")
        write_summary(paths[-1], layers, n_layers=N_LAYERS, sample=sample, attributes=about)
    return paths


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_shards(tmp_path_factory.mktemp("shards"))


@pytest.mark.parametrize("convention", ["raw", "refactored"])
def test_the_whole_is_the_merge_of_its_shards(tmp_path: Path, paths: list[Path], convention: str) -> None:
    for number, order in enumerate((paths, paths[::-1], [paths[i] for i in (2, 0, 3, 1)])):
        out = tmp_path / f"{number}.zarr"
        merge_shards(order, out / "zarr.json", sign=SIGN, convention=convention, attributes={"extra": 1})
        for layer in range(N_LAYERS):
            whole = reduce(merge, [read_layer(path, layer) for path in paths])
            whole = refactor(whole, SIGN[layer]) if convention == "refactored" else whole
            assert_equal(read_layer(out, layer), whole)
            assert_equal(read_neuron(out, layer, 5), whole.neuron(5))
        found = read_sample(out)
        expected = [read_sample(path) for path in paths]
        np.testing.assert_array_equal(found.example, np.concatenate([part.example for part in expected]))
        np.testing.assert_array_equal(found.position, np.concatenate([part.position for part in expected]))
        np.testing.assert_array_equal(read_sign(out), SIGN)


def test_attributes_are_those_of_all_shards(tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    last = read_attributes(paths[-1]) | {
        "device": "cuda",
        "reducer": "triton",
        "versions": {"torch": "3", "numba": "1"},
        "batch_tokens": 5,
    }
    write_summary(
        paths[-1], list(read_layers(paths[-1])), n_layers=N_LAYERS, sample=read_sample(paths[-1]), attributes=last
    )
    about = merge_shards(paths, tmp_path / "out", sign=SIGN, convention="refactored", attributes={"extra": 1})
    assert about == read_attributes(tmp_path / "out")
    assert about == {
        "model": "m", "dataset_fingerprint": "abc", "dataset_rows": 30, "k": K, "convention": "refactored", "extra": 1,
        "rows": 30, "tokens": 16000, "skipped": 0, "shards": 4, "device": "cpu, cuda", "reducer": "numba, triton",
        "versions": {"torch": "2, 3", "numba": "1"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [("model", "other"), ("k", 4), ("dataset_fingerprint", "x"), ("code", "1"), ("convention", "refactored")],
)
def test_a_shard_of_other_settings_is_named_with_the_key(tmp_path: Path, key: str, value: object) -> None:
    paths = write_shards(tmp_path)
    about = read_attributes(paths[1]) | {key: value}
    write_summary(
        paths[1], list(read_layers(paths[1])), n_layers=N_LAYERS, sample=read_sample(paths[1]), attributes=about
    )
    with pytest.raises(ShardMismatch, match=rf"0001\.zarr\.zip: expected {key} .* as in the other shards") as caught:
        merge_shards(paths, tmp_path / "out", sign=SIGN)
    assert repr(value) in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        (0, r"0002\.zarr\.zip: expected rows 0-9 in a shard before, found none"),
        (2, r"0003\.zarr\.zip: expected rows 10-12 in a shard before, found none"),
        (3, r"0002\.zarr\.zip: expected rows 13-29 in a shard after, found none"),
    ],
)
def test_missing_rows_are_named(paths: list[Path], tmp_path: Path, left_out: int, message: str) -> None:
    with pytest.raises(ShardMismatch, match=message):
        merge_shards([path for i, path in enumerate(paths) if i != left_out], tmp_path / "out", sign=SIGN)


def test_overlapping_rows_are_named(paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ShardMismatch, match=r"0000\.zarr\.zip: .* found row 0, which .*0000\.zarr\.zip has as well"):
        merge_shards([*paths, paths[0]], tmp_path / "out", sign=SIGN)
    other = write_shards(tmp_path, (0, 12, 20, 30))
    with pytest.raises(ShardMismatch, match=r"expected rows from 12 on, found row 10, which"):
        merge_shards([other[0], *paths[2:]], tmp_path / "out", sign=SIGN)
    with pytest.raises(ShardMismatch, match="shards to join, found none"):
        merge_shards([], tmp_path / "out", sign=SIGN)


def test_a_shard_with_too_few_or_strange_rows_is_named(tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    layers, about = list(read_layers(paths[3])), read_attributes(paths[3])
    how: dict[str, Any] = {"n_layers": N_LAYERS, "sample": read_sample(paths[3])}
    write_summary(paths[3], layers, attributes=about | {"rows": 15}, **how)
    with pytest.raises(ShardMismatch, match=r"0003\.zarr\.zip: expected rows 13-29, found 15 of them"):
        merge_shards(paths, tmp_path / "out", sign=SIGN)
    for row in (12, 30):
        layers[1].extreme_example[2, 1, 1, 0] = row
        write_summary(paths[3], layers, attributes=about, **how)
        with pytest.raises(ShardMismatch, match=rf"0003\.zarr\.zip, layer 1: expected rows 13-29, found row {row}"):
            merge_shards(paths, tmp_path / "out", sign=SIGN)
    layers[1].extreme_example[2, 1, 1, 0] = 13
    layers[0].count[3, 0] = 4000
    write_summary(paths[3], layers, attributes=about, **how)
    with pytest.raises(ShardMismatch, match=r"layer 0: expected at most 4000 tokens a neuron"):
        merge_shards(paths, tmp_path / "out", sign=SIGN)
    with pytest.raises(ShardMismatch, match="neurons"):
        merge_shards(paths, tmp_path / "out", sign=SIGN[:, :4])
    assert not (tmp_path / "out").exists()


def test_a_damaged_shard_is_named_and_nothing_is_merged(tmp_path: Path) -> None:
    paths = write_shards(tmp_path)
    whole = paths[2].read_bytes()
    rng = np.random.default_rng(5)
    merge_shards(paths, tmp_path / "whole", sign=SIGN)
    refused = 0
    for bit in rng.integers(0, 8 * len(whole), 20).tolist():
        paths[2].write_bytes(flip(whole, bit))
        try:
            merge_shards(paths, tmp_path / "out", sign=SIGN)
        except StoreError as error:
            refused += 1
            assert "0002.zarr.zip" in str(error)  # noqa: PT017
            assert not (tmp_path / "out").exists()
            continue
        for name in FIELDS:
            np.testing.assert_array_equal(
                getattr(read_layer(tmp_path / "out", 1), name), getattr(read_layer(tmp_path / "whole", 1), name)
            )
        subprocess.run(["rm", "-r", tmp_path / "out"], check=True)
    assert refused > 8


def test_memory_does_not_grow_with_the_shards(tmp_path: Path) -> None:
    peaks = []
    for number in (2, 16):
        paths = []
        for shard in range(number):
            layers = [LayerSummary.empty(400, 16) for _ in range(2)]
            about = shard_attributes(range(shard, shard + 1), number, 16)
            paths.append(tmp_path / f"{number}-{shard}.zip")
            sample = SampleTokens(np.zeros(0, np.int64), np.zeros(0, np.int32))
            write_summary(paths[-1], layers, n_layers=2, sample=sample, attributes=about)
        tracemalloc.start()
        merge_shards(paths, tmp_path / f"{number}", sign=np.ones((2, 400), np.int8))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_shards_of_settings_that_the_config_does_not_have_are_refused(tmp_path: Path) -> None:
    """All shards agree, so only what was asked for shows that they are of an earlier config."""
    paths = write_shards(tmp_path)
    # The shards are from before there was a key `tf32`: they did without.
    merge_shards(paths, tmp_path / "a.zarr", sign=SIGN, settings={"k": K, "tf32": False})
    with pytest.raises(ShardMismatch, match="expected tf32 True as in the config, found False"):
        merge_shards(paths, tmp_path / "b.zarr", sign=SIGN, settings={"tf32": True})
    with pytest.raises(ShardMismatch, match=f"expected k {K + 1} as in the config, found {K}") as caught:
        merge_shards(paths, tmp_path / "b.zarr", sign=SIGN, settings={"k": K + 1})
    assert caught.value.redo == tuple(map(str, paths))
    assert not (tmp_path / "b.zarr").exists()

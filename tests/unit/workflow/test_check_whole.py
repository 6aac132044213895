"""The look at all checksums finds what any reader would refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gluscope.cache.reader import CacheReader
from gluscope.cache.writer import CacheWriter
from gluscope.core.errors import StoreError
from gluscope.summary.file import SummaryReader, write_summary
from gluscope.workflow.whole import check_whole
from helpers.damage import altered, files_of, flip
from helpers.summaries import random_layer, random_sample, shard_attributes


def _summary(path: Path) -> Path:
    rng, rows = np.random.default_rng(1), range(20)
    layers = [random_layer(rng, 6, 3, 3, rows) for _ in range(2)]
    write_summary(
        path, layers, n_layers=2, sample=random_sample(rng, 3, rows), attributes=shard_attributes(rows, 20, 3)
    )
    return path


def _cache(path: Path) -> Path:
    rng, lengths = np.random.default_rng(1), np.array([50, 90])
    given = {"n_layers": 2, "d_model": 8, "dtype": "float16", "rows": np.arange(2), "lengths": lengths}
    with CacheWriter(path, **given, attributes={}) as cache:
        for layer in range(2):
            cache.append(layer, rng.normal(size=(140, 8)).astype(np.float16))
    return path


def _read_summary(path: Path) -> None:
    reader = SummaryReader(path)
    reader.sample()
    for layer in range(2):
        reader.layer(layer)


def _read_cache(path: Path) -> None:
    with CacheReader(path) as cache:
        for layer in range(2):
            for row in range(2):
                cache.read(layer, row)


@pytest.mark.parametrize(
    ("make", "name", "read"),
    [(_summary, "a.zarr.zip", _read_summary), (_summary, "a.zarr", _read_summary), (_cache, "c.zarr", _read_cache)],
)
def test_what_a_reader_refuses_is_found(tmp_path: Path, make, name: str, read) -> None:
    path, rng, refused = make(tmp_path / name), np.random.default_rng(2), 0
    check_whole(path)
    for file in files_of(path):
        data = file.read_bytes()
        changes = [flip(data, bit) for bit in rng.integers(0, 8 * len(data), 12).tolist()] + [data[: len(data) // 2]]
        for changed in changes:
            with altered(file, changed):
                try:
                    read(path)
                except StoreError:
                    refused += 1
                    with pytest.raises(StoreError, match=path.name):
                        check_whole(path)
    assert refused > 5
    check_whole(path)

"""Merging shards of which some were scanned when the data set was smaller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.errors import ShardMismatch
from gluscope.scan.sample import choose_sample
from gluscope.summary.file import write_summary
from gluscope.summary.samples import choose_columns
from gluscope.summary.shards import Whole, merge_shards
from gluscope.summary.types import SampleTokens
from helpers.summaries import random_layer, read_attributes, read_layer, read_sample, shard_attributes

LENGTHS = np.random.default_rng(3).integers(1, 30, 40)
SIGN = np.ones((1, 5), np.int8)
CUTS = {"0000": (0, 12), "0001": (12, 25), "0002": (25, 40)}
SAMPLES = 50


def part(sample: SampleTokens, start: int, stop: int) -> SampleTokens:
    inside = (sample.example >= start) & (sample.example < stop)
    return SampleTokens(sample.example[inside], sample.position[inside])


def sample_then(stop: int, seed: int = 0) -> SampleTokens:
    """The sample of the data set when it had `stop` rows."""
    return choose_sample(seed, LENGTHS[:stop], SAMPLES)


@pytest.mark.parametrize("seed", range(20))
def test_an_old_sample_holds_what_the_grown_data_set_takes_of_it(seed: int) -> None:
    parts = [
        (name, part(sample_then(25 if name < "0002" else 40, seed), start, stop))
        for name, (start, stop) in CUTS.items()
    ]
    wanted = sample_then(40, seed)
    found, columns = choose_columns(parts, wanted)
    np.testing.assert_array_equal(found.example, wanted.example)
    np.testing.assert_array_equal(found.position, wanted.position)
    assert sum(map(len, columns)) == SAMPLES < sum(len(sample.example) for _, sample in parts)


def write(folder: Path, seen: dict[str, int]) -> list[Path]:
    """Shards, each scanned when the data set had `seen` rows."""
    paths = []
    for number, (name, (start, stop)) in enumerate(CUTS.items()):
        sample = part(sample_then(seen[name]), start, stop)
        layer = random_layer(np.random.default_rng(number), 5, 3, len(sample.example), range(start, stop))
        more = {"plan": "base", "rows_digest": f"d{name}", "dataset_revision": f"r{seen[name]}", "shard": name}
        about = shard_attributes(range(start, stop), seen[name], 3, **more)
        about["dataset_fingerprint"] = f"f{seen[name]}"
        paths.append(folder / f"{name}.zarr.zip")
        write_summary(paths[-1], [layer], n_layers=1, sample=sample, attributes=about)
    return paths


def whole() -> Whole:
    return Whole(
        rows={name: (start, stop - 1, f"d{name}") for name, (start, stop) in CUTS.items()},
        plan="base",
        sample=sample_then(40),
        attributes={"dataset_revision": "r40", "dataset_fingerprint": "f40", "dataset_rows": 40},
    )


def test_old_and_new_shards_are_one_whole(tmp_path: Path) -> None:
    paths = write(tmp_path, {"0000": 25, "0001": 25, "0002": 40})
    with pytest.raises(ShardMismatch, match="dataset_fingerprint"):
        merge_shards(paths, tmp_path / "out", sign=SIGN)
    about = merge_shards(paths[::-1], tmp_path / "out", sign=SIGN, whole=whole())
    assert about == read_attributes(tmp_path / "out")
    assert (about["dataset_revision"], about["dataset_fingerprint"], about["dataset_rows"]) == ("r40", "f40", 40)
    assert about["rows_digest"] == {name: f"d{name}" for name in CUTS}
    sample, merged, taken = read_sample(tmp_path / "out"), read_layer(tmp_path / "out", 0), 0
    for path in paths:
        own, layer = read_sample(path), read_layer(path, 0)
        for column, token in enumerate(zip(own.example.tolist(), own.position.tolist(), strict=True)):
            (at,) = np.nonzero((sample.example == token[0]) & (sample.position == token[1]))
            taken += len(at)
            for place in at:
                np.testing.assert_array_equal(merged.sample_gate[:, place], layer.sample_gate[:, column])
                np.testing.assert_array_equal(merged.sample_in[:, place], layer.sample_in[:, column])
    assert taken == SAMPLES


def test_what_does_not_belong_is_named(tmp_path: Path) -> None:
    paths = write(tmp_path, {"0000": 25, "0001": 25, "0002": 40})
    rows = {**whole().rows, "0001": (12, 24, "other")}
    for now, message in [
        (replace(whole(), rows=rows), r"0001\.zarr\.zip: expected the texts that the data set has now, found others"),
        (replace(whole(), plan="another"), r"0000\.zarr\.zip: expected a shard of plan another"),
        (replace(whole(), attributes={"dataset_rows": 41}), r"0002\.zarr\.zip: expected rows 40-40 in a shard after"),
    ]:
        with pytest.raises(ShardMismatch, match=message):
            merge_shards(paths, tmp_path / "out", sign=SIGN, whole=now)
    assert not (tmp_path / "out").exists()


def test_a_sample_of_more_tokens_than_there_are_now_is_too_small(tmp_path: Path) -> None:
    """Rows went away behind a shard that was scanned with them: it lacks tokens that the sample takes now."""
    parts = [("a", part(sample_then(40), 0, 25))]
    with pytest.raises(
        ShardMismatch, match=r"a: expected gate and in at row \d+, token \d+, of the sample, found none"
    ):
        choose_columns(parts, sample_then(25))

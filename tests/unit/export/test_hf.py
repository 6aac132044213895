"""A run as a data set: `datasets` opens it, from disk and as the hub would show it; samples; the card."""

from __future__ import annotations

import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from gluscope.core.activation import act
from gluscope.export import hf
from gluscope.export.published import schema
from gluscope.summary.file import SummaryReader, write_summary
from gluscope.summary.types import LayerSummary
from helpers import published as made
from helpers.summaries import refactor


@pytest.fixture(scope="module")
def layers() -> list[LayerSummary]:
    return made.raw_layers()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, layers: list[LayerSummary]) -> Path:
    place = tmp_path_factory.mktemp("hf")
    hf.write_hf(place / "hf", made.summary(place / "s.zarr", layers), "demo", lambda _: None)
    return place


def test_it_opens_with_the_published_columns_and_types(folder: Path, layers: list[LayerSummary]) -> None:
    saved = datasets.load_from_disk(folder / "hf")
    assert saved.features.arrow_schema.remove_metadata() == schema()
    assert str(saved.features["gate-_in+_swish_max_indices"]) == "List(Value('int64'))"
    rows = saved.with_format("numpy")
    np.testing.assert_array_equal(rows["layer"][:], np.repeat(np.arange(made.LAYERS), made.NEURONS))
    np.testing.assert_array_equal(rows["neuron"][:], np.tile(np.arange(made.NEURONS), made.LAYERS))
    assert [repr(saved[i * 40 : i * 40 + 40]) for i in range(3)] == made.tables_of(layers)


def test_a_run_in_either_convention_gives_the_same(folder: Path, layers: list[LayerSummary], tmp_path: Path) -> None:
    hf.write_hf(tmp_path / "hf", made.summary(tmp_path / "s", layers, "refactored"), "demo", lambda _: None)
    for path in sorted((folder / "hf").rglob("*.arrow")):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes()


def test_sampled_tokens_are_a_table_beside_it(folder: Path, layers: list[LayerSummary]) -> None:
    sample, sign = SummaryReader(folder / "s.zarr").sample(), made.signs()
    for layer, raw in enumerate(layers):
        whole = refactor(raw, sign[layer])
        table = datasets.Dataset.from_file(str(folder / f"hf/samples/layer-{layer:02d}.arrow")).with_format("numpy")
        assert table["layer"][:].tolist() == [layer] * made.NEURONS
        for name, values in (("sampled_examples", sample.example), ("sampled_positions", sample.position)):
            np.testing.assert_array_equal(np.stack(table[name][:]), np.tile(values, (made.NEURONS, 1)))
        np.testing.assert_array_equal(np.stack(table["mlp.hook_pre"][:]), whole.sample_gate)
        np.testing.assert_array_equal(np.stack(table["mlp.hook_pre_linear"][:]), whole.sample_in)
        post = act("silu")(whole.sample_gate) * whole.sample_in
        np.testing.assert_array_equal(np.stack(table["mlp.hook_post"][:]), post)


def test_as_the_hub_shows_it(folder: Path, tmp_path: Path) -> None:
    """`load_dataset` reads the card and the Arrow files; of a local folder it refuses what `save_to_disk` wrote."""
    shutil.copytree(folder / "hf", tmp_path / "hub", ignore=shutil.ignore_patterns("state.json", "dataset_info.json"))
    found = datasets.load_dataset(str(tmp_path / "hub"), split="train", cache_dir=str(tmp_path / "cache"))
    saved = datasets.load_from_disk(folder / "hf")
    assert found.features == saved.features
    assert repr(found[:]) == repr(saved[:])
    samples = datasets.load_dataset(str(tmp_path / "hub"), "samples", split="train", cache_dir=str(tmp_path / "cache"))
    assert len(samples) == made.LAYERS * made.NEURONS


def test_large_tables_are_cut_into_files(
    folder: Path, layers: list[LayerSummary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hf, "_FILE_BYTES", 90_000)
    hf.write_hf(tmp_path / "hf", folder / "s.zarr", "demo", lambda _: None)
    names = sorted(path.name for path in (tmp_path / "hf").glob("data-*"))
    assert names == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    assert repr(datasets.load_from_disk(tmp_path / "hf")[:]) == repr(datasets.load_from_disk(folder / "hf")[:])


def test_the_card_says_what_it_is_and_stays_markdown(layers: list[LayerSummary], tmp_path: Path) -> None:
    hostile = "a`|b\n---\n# <script>"
    about = made.ABOUT | {"model": hostile, "samples": 0}
    bare = [refactor(layer, np.ones(made.NEURONS)) for layer in layers]
    for layer in bare:
        layer.sample_gate = layer.sample_in = np.zeros((made.NEURONS, 0), np.float16)
    sample = type(SummaryReader(made.summary(tmp_path / "s", layers)).sample())(np.zeros(0, int), np.zeros(0, np.int32))
    write_summary(tmp_path / "t", bare, n_layers=3, sample=sample, attributes=about, sign=made.signs())
    hf.write_hf(tmp_path / "hf", tmp_path / "t", "demo", lambda _: None)
    head, body = (tmp_path / "hf/README.md").read_text(encoding="utf-8").removeprefix("---\n").split("\n---\n", 1)
    assert [config["config_name"] for config in yaml.safe_load(head)["configs"]] == ["default"]
    assert "3 x 40 gated neurons of `a'|b --- # <script>` over 1,000 tokens" in body
    assert "samples" not in body
    assert "{{" not in body

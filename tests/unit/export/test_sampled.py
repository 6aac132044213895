"""Published sampled activations: every form gives the run's samples; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from gluscope.core.errors import DatasetError
from gluscope.dataset.sources import Located
from gluscope.export.sampled import open_sampled
from gluscope.export.take import TakenSample, Taking, take_activations
from gluscope.summary.file import SummaryReader
from gluscope.summary.types import LayerSummary
from helpers import published as made

LENGTHS = np.full(made.ROWS, 200)
FORMS = ("saved", "parquet", "torch", "raw torch")


@pytest.fixture(scope="module")
def layers() -> list[LayerSummary]:
    return made.raw_layers()


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory, layers: list[LayerSummary]) -> dict[str, Path]:
    """As the original tool samples: one token of each of the first texts."""
    folder = tmp_path_factory.mktemp("sampled")
    sign = made.signs()
    gate = np.stack([layer.sample_gate for layer in layers])
    raw = np.stack([layer.sample_in for layer in layers])
    in_ = raw * sign[:, :, None]
    position = list(range(3, 3 + made.SAMPLES))
    rows = [
        {"layer": i, "neuron": n, "sampled_positions": position, "mlp.hook_post": (gate[i, n] * in_[i, n]).tolist(),
         "mlp.hook_pre": gate[i, n].tolist(), "mlp.hook_pre_linear": in_[i, n].tolist()}
        for i, n in np.ndindex(sign.shape)
    ]  # fmt: skip
    table = datasets.Dataset.from_list(rows)
    table.save_to_disk(folder / "saved")
    (folder / "parquet").mkdir()
    for i, (begin, end) in enumerate([(0, 50), (50, 120)]):
        table.select(range(begin, end)).to_parquet(folder / f"parquet/train-{i}.parquet")
    for name, values in (("sample", raw), ("sample_refactored", in_)):
        tensors = {
            "sampled_positions": position,
            "mlp.hook_post": torch.tensor(gate * values).permute(2, 0, 1),
            "mlp.hook_pre": torch.tensor(gate).permute(2, 0, 1),
            "mlp.hook_pre_linear": torch.tensor(values).permute(2, 0, 1),
        }
        torch.save(tensors, folder / f"{name}.pt")
    return {
        "saved": folder / "saved", "parquet": folder / "parquet", "torch": folder / "sample_refactored.pt",
        "raw torch": folder / "sample.pt",
    }  # fmt: skip


def take(place: Path, out: Path, published: Path, convention: str = "raw", lengths: np.ndarray = LENGTHS) -> Any:
    sample = TakenSample(Located(str(place), str(place)), lengths)
    located, taking = Located(str(published), str(published)), Taking(4, convention, "float32")
    return take_activations(located, made.SPEC, made.RECORD, made.signs(), taking, out, sample)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, layers: list[LayerSummary]) -> Path:
    return made.forms(tmp_path_factory.mktemp("forms"), layers)["saved"]


@pytest.mark.parametrize("convention", ["raw", "refactored"])
@pytest.mark.parametrize("form", FORMS)
def test_samples_are_the_runs(
    form: str, convention: str, forms: Any, published: Path, layers: list[LayerSummary], tmp_path: Path
) -> None:
    about = take(forms[form], tmp_path / "t.zarr", published, convention)
    reader = SummaryReader(tmp_path / "t.zarr")
    assert reader.sample().example.tolist() == list(range(made.SAMPLES))
    assert reader.sample().position.tolist() == list(range(3, 3 + made.SAMPLES))
    for i, layer in enumerate(layers):
        found = reader.layer(i)
        sign = made.signs()[i][:, None] if convention == "refactored" else 1
        np.testing.assert_array_equal(found.sample_gate, layer.sample_gate)
        np.testing.assert_array_equal(found.sample_in, layer.sample_in * sign)
        assert (np.sort(found.extreme_example) == np.sort(reader.layer(i).extreme_example)).all()
    assert about["samples"] == made.SAMPLES
    assert about["sampled_activations"]["convention"] == ("raw" if form == "raw torch" else "refactored")
    assert f"Its sampled tokens, {made.SAMPLES} of them, are from published ones" in about["note"]
    assert "No tokens were sampled" not in about["note"]


@pytest.mark.parametrize("inside", ["", "samples"])
def test_an_export_of_our_own_has_several_tokens_of_a_text(
    inside: str, published: Path, layers: list[LayerSummary], tmp_path: Path
) -> None:
    take(published / inside, tmp_path / "t.zarr", published)
    reader = SummaryReader(tmp_path / "t.zarr")
    places = list(zip(reader.sample().example.tolist(), reader.sample().position.tolist(), strict=True))
    assert places == sorted(places)
    for i, layer in enumerate(layers):
        np.testing.assert_array_equal(reader.layer(i).sample_gate, layer.sample_gate)
        np.testing.assert_array_equal(reader.layer(i).sample_in, layer.sample_in)


def test_the_order_of_tokens_is_ours_whatever_theirs_was(forms: Any, tmp_path: Path) -> None:
    table = datasets.load_from_disk(forms["saved"])
    mixed = [3, 0, 6, 5, 1, 2, 4]

    def mix(row: dict[str, Any]) -> dict[str, Any]:
        positions = [row["sampled_positions"][i] for i in mixed]
        hooks = {name: [row[name][i] for i in mixed] for name in row if name.startswith("mlp.")}
        return {**row, **hooks, "sampled_positions": positions, "sampled_examples": mixed}

    table.map(mix).save_to_disk(tmp_path / "mixed")
    one, other = open_sampled(tmp_path / "mixed"), open_sampled(forms["saved"])
    assert one.tokens.position.tolist() == other.tokens.position.tolist()
    for mine, theirs in zip(one.layers(made.NEURONS), other.layers(made.NEURONS), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_what_does_not_fit_is_refused_by_name(forms: Any, published: Path, tmp_path: Path) -> None:
    def refused(place: Path, match: str, lengths: np.ndarray = LENGTHS) -> None:
        with pytest.raises(DatasetError, match=match):
            take(place, tmp_path / "t.zarr", published, lengths=lengths)
        assert not (tmp_path / "t.zarr").exists()

    table = datasets.load_from_disk(forms["saved"])

    def changed(name: str, change: Any) -> Path:
        table.map(change, with_indices=True).save_to_disk(tmp_path / name)
        return tmp_path / name

    refused(forms["saved"], "found token 8 of row 5", lengths=np.where(np.arange(made.ROWS) == 5, 8, 200))
    refused(forms["saved"], "found token 7 of row 4", lengths=LENGTHS[:4])
    table.select(range(80)).save_to_disk(tmp_path / "few")
    refused(tmp_path / "few", "3 layers of 40 neurons, 120 rows.*found 80 rows")
    table.select([1, 0, *range(2, 120)]).save_to_disk(tmp_path / "order")
    refused(tmp_path / "order", "expected L0/N0 in row 0, found L0/N1")
    moved = changed("moved", lambda row, i: row | {"sampled_positions": [i == 70] * made.SAMPLES})
    refused(moved, "the same sampled_positions in every row")
    large = changed("large", lambda row, i: row | {"mlp.hook_pre": [7e4 if i == 90 else 1.0] * made.SAMPLES})
    refused(large, "numbers up to 65504.*found 70000")
    nothing = changed("nothing", lambda row, i: row | {"mlp.hook_pre_linear": [float("nan")] * made.SAMPLES})
    refused(nothing, "found nan")
    short = changed("short", lambda row, i: row | {"mlp.hook_pre": [1.0] * (6 if i == 3 else 7)})
    refused(short, r"7 values of mlp\.hook_pre in every row, found 6")
    table.remove_columns("mlp.hook_pre").save_to_disk(tmp_path / "lacks")
    refused(tmp_path / "lacks", "a column mlp.hook_pre")
    torch.save({"sampled_positions": [1]}, tmp_path / "sample.pt")
    refused(tmp_path / "sample.pt", r"a tensor \[sample, layer, neuron\] at 'mlp.hook_pre', found none")

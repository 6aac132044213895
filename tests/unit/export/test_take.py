"""A run's summary from published activations: every form, both conventions, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from gluscope.core.cases import Quantity, SignCase
from gluscope.core.errors import DatasetError
from gluscope.dataset.sources import Located
from gluscope.export.hf import write_hf
from gluscope.export.published import from_table, to_table
from gluscope.export.source import open_published
from gluscope.export.take import Taking, take_activations
from gluscope.summary.file import SummaryReader
from gluscope.summary.types import LayerSummary
from helpers import published as made
from helpers.summaries import refactor

FORMS = ("saved", "split", "file", "parquet", "torch", "raw", "by layer")


@pytest.fixture(scope="module")
def layers() -> list[LayerSummary]:
    return made.raw_layers()


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory, layers: list[LayerSummary]) -> dict[str, Path]:
    return made.forms(tmp_path_factory.mktemp("forms"), layers)


def take(place: Path, out: Path, convention: str = "raw", spec: Any = made.SPEC, record: Any = made.RECORD, k: int = 4):
    located = Located(str(place), str(place))
    return take_activations(located, spec, record, made.signs(), Taking(k, convention, "float32"), out)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_tables(form: str, forms: dict[str, Path], layers: list[LayerSummary]) -> None:
    found = open_published(forms[form])
    assert found.rows == made.LAYERS * made.NEURONS
    assert found.convention == ("raw" if form == "raw" else "refactored")
    sign = made.signs() if form == "raw" else np.ones_like(made.signs())
    tables = [
        repr(to_table(i, refactor(from_table(table, made.TOKENS), sign[i]), made.TOKENS).to_pydict())
        for i, table in enumerate(found.tables(made.NEURONS))
    ]
    assert tables == made.tables_of(layers)


@pytest.mark.parametrize("convention", ["raw", "refactored"])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_taken_is_what_a_scan_found(
    form: str, convention: str, forms: dict[str, Path], layers: list[LayerSummary], tmp_path: Path
) -> None:
    about = take(forms[form], tmp_path / "t.zarr", convention)
    reader, sign = SummaryReader(tmp_path / "t.zarr"), made.signs()
    assert reader.attributes == about
    assert about["activations"]["id"] == str(forms[form])
    assert about["activations"]["revision"].startswith("sha256:")
    assert "positions" in about["note"]
    np.testing.assert_array_equal(reader.sign(), sign)
    assert not len(reader.sample().example)
    for i, raw in enumerate(layers):
        found, scan = reader.layer(i), refactor(raw, sign[i]) if convention == "refactored" else raw
        for name in ("count", "extreme_value", "extreme_example"):
            np.testing.assert_array_equal(getattr(found, name), getattr(scan, name), name)
        assert (found.extreme_position == -1).all()
        # A mean is float32, so a sum is known to that.
        known = np.where(scan.count[..., None] > 0, scan.sum, 0)
        np.testing.assert_allclose(found.sum, known, rtol=2**-23, atol=0)


def test_exported_again_it_is_equal_to_the_byte(forms: dict[str, Path], tmp_path: Path) -> None:
    for convention in ("raw", "refactored"):
        take(forms["saved"], tmp_path / f"{convention}.zarr", convention)
        write_hf(tmp_path / convention, tmp_path / f"{convention}.zarr", "again", lambda _: None)
        name = "data-00000-of-00001.arrow"
        assert (tmp_path / convention / name).read_bytes() == (forms["saved"] / name).read_bytes()
        assert not (tmp_path / convention / "samples").exists()
        card = (tmp_path / convention / "README.md").read_text()
        assert "taken from `saved`, revision `sha256:" in card
        assert str(tmp_path.parent) not in card


def test_zeros_that_are_values_stay_and_fillers_go() -> None:
    """ReLU: act and post are 0 wherever the gate is closed. The original tool fills up with zeros and any row."""
    summary = LayerSummary.empty(2, 4)
    case = SignCase.GATE_NEG_IN_POS
    summary.count[0, case.index] = 9
    for quantity in case.listed:
        value = {Quantity.GATE: [-3, -2, 0, 0], Quantity.IN: [5, 1, 0, 0]}.get(quantity, [0, 0, 0, 0])
        summary.extreme_value[:, case.index, quantity.index] = value
        summary.extreme_example[:, case.index, quantity.index] = [7, 4, 1, 2]
    summary.extreme_value[1] = 0
    found = from_table(to_table(0, summary, 100), 100)
    for quantity in case.listed:
        at = (slice(None), case.index, quantity.index)
        assert found.extreme_example[at].tolist() == [[7, 4, -1, -1], [-1] * 4]
        assert np.isnan(found.extreme_value[at]).tolist() == [[False, False, True, True], [True] * 4]


def test_ties_are_put_into_order(layers: list[LayerSummary], tmp_path: Path) -> None:
    """The original tool leaves equal values in any order; ours stand by row."""
    turned = [replace(layer, extreme_example=layer.extreme_example.copy()) for layer in layers]
    for before, layer in zip(layers, turned, strict=True):
        same = (np.diff(before.extreme_value, axis=-1) == 0)[..., 0]
        layer.extreme_example[same, :2] = layer.extreme_example[same, 1::-1]
        assert (layer.extreme_example != before.extreme_example).any()
    sign = made.signs()
    torch.save(made.as_dict([refactor(layer, sign[i]) for i, layer in enumerate(turned)]), tmp_path / "x.pt")
    take(tmp_path / "x.pt", tmp_path / "t.zarr")
    for i, layer in enumerate(layers):
        np.testing.assert_array_equal(
            SummaryReader(tmp_path / "t.zarr").layer(i).extreme_example, layer.extreme_example
        )


REFUSED = [
    ({"spec": replace(made.SPEC, n_layers=4)}, "4 layers of 40 neurons, 160 rows, as user/model has, found 120 rows"),
    ({"spec": replace(made.SPEC, n_layers=4, d_mlp=30)}, "expected L1/N0 in row 30, found L0/N30"),
    ({"k": 16}, "layer 0: expected lists of 16 examples, the run's k, found 4. Next: set `k: 4` in the run"),
    ({"record": replace(made.RECORD, rows=20)}, "expected rows below 20, as user/texts has, found row 29. Next: name"),
]


@pytest.mark.parametrize(("changes", "told"), REFUSED, ids=["layers", "neurons", "k", "rows"])
@pytest.mark.parametrize("form", ["saved", "parquet"])
def test_what_does_not_belong_together_is_refused(
    form: str, changes: dict[str, Any], told: str, forms: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError) as error:
        take(forms[form], tmp_path / "t.zarr", "refactored", **changes)
    assert told in str(error.value)
    assert not (tmp_path / "t.zarr").exists()
    assert not list(tmp_path.iterdir())


def test_rows_in_another_order_are_refused(forms: dict[str, Path], tmp_path: Path) -> None:
    saved = datasets.load_from_disk(forms["saved"])
    saved.select([1, 0, *range(2, len(saved))]).save_to_disk(tmp_path / "turned")
    with pytest.raises(DatasetError, match="expected L0/N0 in row 0, found L0/N1"):
        take(tmp_path / "turned", tmp_path / "t.zarr")


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("gate+_in+_freq", 1.5, "frequencies from 0 to 1"),
        ("gate-_in+_hook_post_max_values", [1.0, 0.5, 0.25, 0.125], "negative hook_post in gate-_in+, found 1 for"),
        ("gate-_in+_hook_pre_max_values", [-np.inf, -1.0, -1.0, -1.0], "found -inf for neuron"),
        ("gate-_in+_hook_pre_max_values", [-1.0] * 3, "4 entries"),
    ],
)
def test_values_that_cannot_be_are_refused(
    column: str, value: Any, told: str, forms: dict[str, Path], tmp_path: Path
) -> None:
    table = pq.read_table(forms["file"])
    values, rows = (table.column(name).to_pylist() for name in (column, "gate-_in+_hook_pre_max_indices"))
    neuron = next(i for i, row in enumerate(rows) if min(row) >= 0)
    values[neuron] = value
    field = table.schema.field(column)
    changed = table.set_column(table.column_names.index(column), field, pa.array(values, field.type))
    pq.write_table(changed, tmp_path / "x.parquet")
    with pytest.raises(DatasetError) as error:
        take(tmp_path / "x.parquet", tmp_path / "t.zarr")
    assert told in str(error.value)


def test_files_that_are_no_activations_are_refused_by_name(forms: dict[str, Path], tmp_path: Path) -> None:
    def refusal(place: Path) -> str:
        with pytest.raises(DatasetError) as error:
            take(place, tmp_path / "t.zarr")
        return str(error.value)

    (tmp_path / "empty").mkdir()
    assert "parquet files or a summary_refactored.pt, found none" in refusal(tmp_path / "empty")
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "texts")
    assert "expected a column layer" in refusal(tmp_path / "texts")
    pq.write_table(pq.read_table(forms["file"]).drop_columns(["gate+_in-_freq"]), tmp_path / "x.parquet")
    assert "expected a column gate+_in-_freq" in refusal(tmp_path / "x.parquet")
    for form in ("saved", "parquet", "torch", "file"):
        source = forms[form] if forms[form].is_file() else sorted(forms[form].rglob("*.[ap]*r*"))[0]
        cut = tmp_path / f"cut-{form}"
        cut.mkdir()
        (cut / source.name).write_bytes(source.read_bytes()[: source.stat().st_size // 2])
        if form == "saved":
            (cut / "state.json").write_text(json.dumps({"_data_files": [{"filename": source.name}]}))
        assert source.name in refusal(cut / source.name if form in ("torch", "file") else cut)


class Harmful:
    def __reduce__(self) -> Any:
        return (Path("harmed").touch, ())


def test_a_pickle_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({("gate+_in+", "freq"): Harmful()}, tmp_path / "summary_refactored.pt")
    with pytest.raises(DatasetError, match="nothing that has to be executed"):
        take(tmp_path / "summary_refactored.pt", tmp_path / "t.zarr")
    assert not (tmp_path / "harmed").exists()
    torch.save({("gate+_in+", "freq"): torch.zeros(3)}, tmp_path / "summary_refactored.pt")
    with pytest.raises(DatasetError, match=r"a tensor \[layer, neuron\] at \('gate\+_in\+', 'freq'\), found \[3\]"):
        take(tmp_path / "summary_refactored.pt", tmp_path / "t.zarr")


def test_an_export_of_a_run_that_skips_tokens_says_so_and_keeps_its_counts(
    layers: list[LayerSummary], tmp_path: Path
) -> None:
    """Its frequencies are shares of the other tokens."""
    about = {"skip_tokens": ["bos", 7], "skipped_ids": [0, 7], "skipped": 50}
    made.ABOUT.update(about)
    try:
        summary = made.summary(tmp_path / "s.zarr", layers)
    finally:
        for key in about:
            del made.ABOUT[key]
    write_hf(tmp_path / "hf", summary, "demo", lambda _: None)
    assert "50 more tokens (`bos`, `7`) went" in (tmp_path / "hf/README.md").read_text()
    assert datasets.load_from_disk(tmp_path / "hf").num_rows == made.LAYERS * made.NEURONS
    found = take(tmp_path / "hf", tmp_path / "out", record=replace(made.RECORD, tokens=made.TOKENS + 50))
    assert {key: found[key] for key in (*about, "tokens")} == {**about, "tokens": made.TOKENS}
    for index, layer in enumerate(layers):
        np.testing.assert_array_equal(SummaryReader(tmp_path / "out").layer(index).count, layer.count)
    with pytest.raises(DatasetError, match="activations over 1000 tokens, found 1050"):
        take(tmp_path / "hf", tmp_path / "again")


def test_a_layer_that_a_dict_lacks_is_named(tmp_path: Path, layers: list[LayerSummary]) -> None:
    whole = made.by_layer(made.as_dict(layers))
    del whole["gate+_in-", "blocks.1.hook_post", "max"]
    torch.save(whole, tmp_path / "summary.pt")
    with pytest.raises(
        DatasetError, match=r"\[k, neuron\] at \('gate\+_in-', 'blocks.1.hook_post', 'max'\).*found none"
    ):
        take(tmp_path / "summary.pt", tmp_path / "t.zarr")

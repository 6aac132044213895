"""The table of all neurons: every cell against the statistics it comes from, as DuckDB and pandas read it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
from gluscope.core.cases import CASES, QUANTITIES, Quantity, SignCase
from gluscope.core.errors import StoreError
from gluscope.core.provenance import RunProvenance
from gluscope.export.neurons import schema, write_neurons
from gluscope.summary.types import LayerSummary
from gluscope.weights.classes import RW_CLASSES
from gluscope.weights.types import LayerWeights
from helpers.summaries import random_layer, refactor

LAYERS, NEURONS, TOKENS = 3, 20, 5000
ABOUT = {
    "model": "m", "model_revision": "1", "dataset": "d", "dataset_fingerprint": "f", "tokens": TOKENS,
    "act_fn": "silu", "convention": "raw",
}  # fmt: skip


def summaries() -> list[LayerSummary]:
    """Made-up statistics in which a case without tokens has no lists, as in a scan."""
    rng = np.random.default_rng(3)
    made = [random_layer(rng, NEURONS, 4, 0, range(50)) for _ in range(LAYERS)]
    for layer in made:
        layer.count[0, 1] = layer.count[1, 2] = 0
        empty = layer.count == 0
        layer.sum[empty], layer.extreme_value[empty], layer.extreme_example[empty] = 0, np.nan, -1
        layer.extreme_position[empty] = -1
    return made


def weights() -> list[LayerWeights]:
    rng = np.random.default_rng(4)
    made = []
    for _ in range(LAYERS):
        cosine, norm = rng.uniform(-1, 1, (NEURONS, 3)).astype(np.float32), rng.random((NEURONS, 3), np.float32)
        sign = np.where(cosine[:, 2] < 0, -1, 1).astype(np.int8)
        rw_class = rng.integers(0, len(RW_CLASSES), NEURONS).astype(np.int8)
        rest = dict.fromkeys(["norm_quantile", "token_id", "token_score", "chance"], np.zeros(0))
        near = dict.fromkeys([f"nearest_{name}" for name in ("layer", "neuron", "cosine", "sign")], np.zeros(0))
        made.append(LayerWeights(cosine=cosine, norm=norm, sign=sign, rw_class=rw_class, **rest, **near))
    return made


def written(path: Path, convention: str = "raw") -> pandas.DataFrame:
    layers = summaries()
    if convention == "refactored":
        layers = [refactor(layer, one.sign) for layer, one in zip(layers, weights(), strict=True)]
    provenance = RunProvenance.of(ABOUT | {"convention": convention})
    assert (
        write_neurons(path, zip(layers, weights(), strict=True), provenance=provenance, say=lambda _: None)
        == LAYERS * NEURONS
    )
    return pandas.read_parquet(path)


def same(found: object, expected: float) -> bool:
    """Null where the expectation is NaN."""
    return bool(pandas.isna(found)) if np.isnan(expected) else found == pytest.approx(expected, rel=1e-6)


def test_every_cell(tmp_path: Path) -> None:
    table = written(tmp_path / "neurons.parquet")
    assert list(table.columns) == schema().names
    for row, values in enumerate(table.to_dict("records")):
        layer, neuron = divmod(row, NEURONS)
        assert (values["layer"], values["neuron"]) == (layer, neuron)
        one, weight = summaries()[layer], weights()[layer]
        for case in CASES:
            count = one.count[neuron, case.index]
            assert values[f"{case.value}_count"] == count
            assert values[f"{case.value}_frequency"] == count / TOKENS
            for quantity in QUANTITIES:
                name = f"{case.value}_{quantity.value}"
                mean = one.sum[neuron, case.index, quantity.index] / count if count else np.nan
                assert same(values[f"{name}_mean"], mean), name
                value, example, position = first(one, neuron, case, quantity)
                assert same(values[f"{name}_extreme"], value), name
                assert same(values[f"{name}_row"], example)
                assert same(values[f"{name}_position"], position)
        assert values["rw_class"] == RW_CLASSES[weight.rw_class[neuron]].label
        assert values["sign"] == weight.sign[neuron]
        cosines = [values[f"cos_{pair}"] for pair in ("in_out", "gate_out", "gate_in")]
        assert cosines == weight.cosine[neuron].tolist()
        assert [values[f"norm_{one}"] for one in ("gate", "in", "out")] == weight.norm[neuron].tolist()


def first(one: LayerSummary, neuron: int, case: SignCase, quantity: Quantity) -> tuple[float, float, float]:
    """The first place of a list; of act where the gate is open by way of the gate's. NaN where there is none."""
    own = quantity in case.listed
    place = neuron, case.index, (quantity if own else Quantity.GATE).index, 0
    if one.extreme_example[place] < 0:
        return np.nan, np.nan, np.nan
    value = float(one.extreme_value[place])
    return value if own else value / (1 + np.exp(-value)), one.extreme_example[place], one.extreme_position[place]


def test_the_refactored_view_turns_what_it_flips(tmp_path: Path) -> None:
    raw, turned = written(tmp_path / "raw.parquet"), written(tmp_path / "turned.parquet", "refactored")
    flip = raw["sign"] < 0
    assert 0 < flip.sum() < len(raw)
    for name in ("cos_gate_out", "cos_gate_in"):
        np.testing.assert_array_equal(turned[name], np.where(flip, -raw[name], raw[name]))
    for name in ("cos_in_out", "rw_class", "norm_in"):
        assert (turned[name] == raw[name]).all()
    other = np.where(flip, raw["gate-_in-_count"], raw["gate-_in+_count"])
    np.testing.assert_array_equal(turned["gate-_in+_count"], other)
    assert pq.read_schema(tmp_path / "turned.parquet").metadata[b"convention"] == b"refactored"


def test_a_row_group_a_layer_and_duckdb_reads_it(tmp_path: Path) -> None:
    written(path := tmp_path / "neurons.parquet")
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [NEURONS] * LAYERS
    [found] = duckdb.sql(f"""select sum("gate+_in+_count"), count(distinct rw_class) from '{path}'""").fetchall()
    assert found[0] == sum(int(layer.count[:, 0].sum()) for layer in summaries())
    assert file.schema_arrow.metadata[b"model"] == b"m"


def test_a_fault_on_the_way_leaves_no_table(tmp_path: Path) -> None:
    def layers():
        yield summaries()[0], weights()[0]
        raise StoreError("weights.zarr", "a layer", "none", "run again")

    with pytest.raises(StoreError, match=r"weights\.zarr: expected a layer"):
        write_neurons(tmp_path / "neurons.parquet", layers(), provenance=RunProvenance.of(ABOUT), say=lambda _: None)
    assert not list(tmp_path.iterdir())

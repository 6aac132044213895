"""A mixture of experts as a user runs it: from text to the page of an expert's neuron, by the names on disk."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet
import pytest
import yaml
from gluscope.core.cases import CASES, Quantity
from gluscope.core.neuron import NeuronId
from gluscope.dataset.reader import TokenDataset
from gluscope.effect.types import Effect
from gluscope.model.describe import describe
from gluscope.page.pack import unpack
from gluscope.recompute.types import Recomputed
from helpers.brute_effect import BruteForceExperts
from helpers.brute_experts import Brute, brute
from helpers.room import Room
from helpers.tiny_experts import make_experts
from helpers.tiny_models import make_tokenizer
from helpers.token_rows import all_ids

PAGE = "results/mine/site/L1/E2/N3.html"
NEURONS = ["L1/E2/N*", "L*/E0/N5"]


@dataclass
class Made:
    """A room where PAGE was asked for, and what the model gives by the slow way."""

    room: Room
    ids: list[list[int]]
    slow: Brute

    def values(self, neuron: NeuronId) -> list[tuple[int, int, np.ndarray]]:
        """(row, position, (gate, in, act, post)) of every token that reaches the neuron and counts."""
        return [
            (row, int(position), own[neuron.neuron])
            for row, (positions, values) in enumerate(self.slow.values[neuron.layer, neuron.expert])
            for position, own in zip(positions, values, strict=True)
            if self.ids[row][position] != self.ids[0][0]
        ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    room = Room(tmp_path_factory.mktemp("experts"))
    model = room.folder / "my-model"
    make_tokenizer(model)
    make_experts("OlmoeForCausalLM", model, vocab=320)
    room.write_texts()
    room.write_config(neurons=NEURONS, pages_from="replay", k=4)
    done = room.snakemake(PAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    ids = all_ids(TokenDataset.open(room.folder / "results/datasets/mine-texts"))
    return Made(room, ids, brute(model, ids))


def header(file: Path) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', file.read_text(encoding="utf-8"), re.S)
    assert found
    return unpack(found[1].strip())[0]


def test_a_page_from_text_says_what_the_definition_gives(made: Made) -> None:
    neuron = NeuronId.parse("L1/E2/N3")
    about, tokens = header(made.room.folder / PAGE), made.values(neuron)
    assert (about["layer"], about["expert"], about["neuron"]) == (1, "E2", 3)
    assert about["reached"] == len(tokens)
    counted = sum(len(ids) - 1 for ids in made.ids)
    for case in CASES:
        inside = [(r, p, v) for r, p, v in tokens if v[0] * case.gate_sign > 0 and v[1] * case.in_sign > 0]
        shown = about["cases"][case.value]
        assert shown["count"] == len(inside)
        assert shown["frequency"] == pytest.approx(len(inside) / counted)
        best: dict[int, tuple[float, int]] = {}
        for row, position, value in inside:
            if row not in best or abs(value[3]) > abs(best[row][0]):
                best[row] = float(value[3]), position
        expected = sorted(((value, row, at) for row, (value, at) in best.items()), key=lambda one: -abs(one[0]))[:4]
        found = shown["extreme"][Quantity.POST.value]
        assert [(one["example"], one["position"]) for one in found] == [(row, at) for _, row, at in expected]
        assert [one["value"] for one in found] == pytest.approx([one[0] for one in expected], rel=1e-4)


def test_values_and_the_routers_weight_are_there_where_a_token_reaches_the_expert(made: Made) -> None:
    neuron = NeuronId.parse("L1/E2/N3")
    found, begin = Recomputed.read(made.room.folder / "results/mine/neurons/L1/E2/N3.npz", neuron), 0
    assert found.source == "replay"
    assert found.weight is not None
    for row, length in zip(found.rows.tolist(), found.lengths.tolist(), strict=True):
        part = slice(begin, begin := begin + length)
        positions, values = made.slow.values[1, "E2"][row]
        assert np.flatnonzero(~np.isnan(found.weight[part])).tolist() == positions.tolist()
        np.testing.assert_allclose(found.gate[part][positions], values[:, 3, 0], rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(found.weight[part][positions], made.slow.weights[1, "E2"][row], rtol=1e-4)


def test_all_listed_neurons_have_pages_and_nothing_is_done_twice(made: Made) -> None:
    room = made.room
    done = room.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {str(path.relative_to(room.folder / "results/mine/site")) for path in room.folder.rglob("N*.html")}
    assert pages == {f"L1/E2/N{n}.html" for n in range(24)} | {f"L{layer}/E0/N5.html" for layer in range(3)}
    assert room.plan() == room.plan(PAGE) == {}
    written = (path for path in (room.folder / "results/mine").rglob("*") if path.is_file())
    files = sum(path.parent.name != "done" for path in written)  # markers of batches are not foreseen
    said = (room.folder / "logs/plan_shards/mine.log").read_text(encoding="utf-8")
    assert f" in {files:,} files under results/ " in said


def test_every_export_names_the_expert(made: Made) -> None:
    files = ("hf/state.json", "gluscope-site/pages.json", "neuronpedia/sources.json", "neurons.parquet")
    done = made.room.snakemake(*(f"results/mine/export/{file}" for file in files))
    assert done.returncode == 0, done.stdout + done.stderr
    place = made.room.folder / "results/mine/export"
    assert datasets.load_from_disk(place / "hf").column_names[:3] == ["layer", "expert", "neuron"]
    assert pyarrow.parquet.read_schema(place / "neurons.parquet").names[:3] == ["layer", "expert", "neuron"]
    assert (place / "gluscope-site/mine/L1/E2-N3/vis.html").is_file()
    assert (
        json.loads((place / "neuronpedia/sources.json").read_text())["sources"]["1-gluscope-e2-gate-pos-in-pos"] == 24
    )


def test_the_cache_and_the_model_give_the_same_page(made: Made) -> None:
    room, neuron = made.room, NeuronId.parse("L1/E2/N3")
    file = room.folder / "results/mine/neurons/L1/E2/N3.npz"
    known, page = Recomputed.read(file, neuron), header(room.folder / PAGE)
    try:
        for source, keys in (("model", {}), ("cache", {"cache": True})):
            room.write_config(neurons=NEURONS, pages_from=source, k=4, **keys)
            done = room.snakemake(PAGE)
            assert done.returncode == 0, done.stdout + done.stderr
            found, again = Recomputed.read(file, neuron), header(room.folder / PAGE)
            assert found.source == source
            # The replay rounds values to float16, the cache x: each an error of |x| |w| 2**-11 at most.
            for name, bound in (("gate", known.gate_bound), ("in_", known.in_bound), ("weight", 0)):
                here, there = getattr(found, name), getattr(known, name)
                np.testing.assert_allclose(here, there, rtol=1e-5, atol=bound * 2**-10)
            assert [again[key] for key in ("cases", "reached", "weights")] == [
                page[key] for key in ("cases", "reached", "weights")
            ]
    finally:
        room.write_config(neurons=NEURONS, pages_from="replay", k=4)


def test_effects_are_measured_with_the_routers_choice_as_it_was(made: Made) -> None:
    room, neuron = made.room, NeuronId.parse("L1/E2/N3")
    room.write_config(neurons=NEURONS, pages_from="replay", k=4, effect=2, dtype="float32")
    try:
        done = room.snakemake(PAGE, "results/mine/export/neurons.parquet")
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        room.write_config(neurons=NEURONS, pages_from="replay", k=4)
    found, about = Effect.read(room.folder / "results/mine/effect/L1/E2/N3.npz", neuron), header(room.folder / PAGE)
    table = pyarrow.parquet.read_table(room.folder / "results/mine/export/neurons.parquet").to_pylist()
    (row,) = (row for row in table if (row["layer"], row["expert"], row["neuron"]) == (1, "E2", 3))
    slow, seen = BruteForceExperts(describe(str(room.folder / "my-model"), None)), 0
    for case, group, i in np.argwhere(found.row >= 0):
        ids, at = made.ids[found.row[case, group, i]], int(found.position[case, group, i])
        before, after = (slow.log_probabilities(ids, neuron, zero)[at] for zero in (frozenset(), {at}))
        assert found.kl[0, case, group, i] == pytest.approx(
            (np.exp(before) * (before - after)).sum(), rel=1e-3, abs=1e-6
        )
        seen += 1
    assert seen > 6
    for case in CASES:
        if (found.row[case.index, 0] >= 0).any():
            mean = float(np.nanmean(found.kl[0, case.index, 0].astype(np.float64)))
            assert about["effect"]["cases"][case.value]["position"]["strongest"]["kl"][0] == pytest.approx(mean)
            assert row[f"{case.value}_effect_kl"] == pytest.approx(mean)


def test_two_runs_and_two_neurons_are_compared(made: Made) -> None:
    room = made.room
    room.write_config(neurons=NEURONS, pages_from="replay", k=4)
    config = yaml.safe_load((room.folder / "mine.yaml").read_text(encoding="utf-8"))
    config["runs"]["other"] = {**config["runs"]["mine"], "dtype": "bfloat16"}
    (room.folder / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    places = ("mine.json", "mine/L1/E2/N3.html", "mine/L1/E2/N3-L0/E0/N5.html")
    try:
        done = room.snakemake(*(f"results/other/compare/{place}" for place in places))
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        room.write_config(neurons=NEURONS, pages_from="replay", k=4)
    found = json.loads((room.folder / "results/other/compare/mine.json").read_text(encoding="utf-8"))
    assert 0 <= found["sample"]["routed_elsewhere_share"] < 0.1
    assert all(re.fullmatch(r"L\d/E\d/N\d+", one["neuron"]) for one in found["most_changed"])
    html = (room.folder / "results/other/compare/mine/L1/E2/N3.html").read_text(encoding="utf-8")
    assert "L1/E2/N3 of other" in html
    assert "L1/E2/N3 of mine" in html


@pytest.mark.parametrize(
    ("neuron", "says"),
    [
        ("L1/E6/N3", "expected an expert from E0 to E5 (layer 1 is a mixture of experts), found E6"),
        ("L1/N3", "expected an expert from E0 to E5 (layer 1 is a mixture of experts), found L1/N3, which names none"),
        ("L1/E2/N24", "expected a neuron from 0 to 23 (each expert has 24), found neuron 24"),
    ],
)
def test_a_neuron_that_the_model_lacks_is_refused_before_any_job(made: Made, neuron: str, says: str) -> None:
    done = made.room.snakemake("--dry-run", f"results/mine/site/{neuron}.html")
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr

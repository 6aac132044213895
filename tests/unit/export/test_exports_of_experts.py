"""Exports of a mixture of experts: names tell layer, expert and neuron; values are the expert's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from gluscope.core.cases import CASES, Quantity
from gluscope.core.neuron import NeuronId
from gluscope.export.hf import write_hf
from gluscope.export.neuronpedia import write_neuronpedia
from gluscope.export.neuronpedia_source import Release
from gluscope.export.published import schema
from gluscope.export.site_folder import PAGES, example, merge_into, write_site
from gluscope.page.record import NeuronPage
from helpers.brute_experts import Brute, brute
from helpers.expert_run import ExpertRun
from helpers.neuronpedia_list import lines
from helpers.scan_case import prepare

LISTED = [NeuronId(0, 20), NeuronId(1, 3, "ES"), NeuronId(1, 3, "E2"), NeuronId(1, 5, "E2"), NeuronId(1, 3, "E5")]
ROUTED = [neuron for neuron in LISTED if neuron.expert in ("E2", "E5")]


@dataclass
class Made:
    """A run of a model with a dense layer, shared and routed experts; what it gives, the slow way; pages of LISTED."""

    run: ExpertRun
    slow: Brute
    pages: list[NeuronPage]

    @property
    def neurons(self) -> Iterator[tuple[NeuronId, int]]:
        """Each neuron of the model, and its sign."""
        sign = self.run.results.summary.sign()
        for layer, own in enumerate(self.run.case.spec.size.layers):
            for place in range(own.count):
                yield own.neuron(layer, place), int(sign[layer, place])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    case = prepare(tmp_path_factory.mktemp("experts"), "DeepseekV3ForCausalLM")
    run = ExpertRun.make(case)
    return Made(run, brute(case.folder, case.ids), [run.page(neuron, "model", run.folder) for neuron in LISTED])


@pytest.fixture(scope="module")
def hf(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export") / "hf"
    write_hf(place, made.run.folder / "summary.zarr", "tiny", lambda _: None)
    return place


def test_a_row_a_neuron_with_its_expert_and_frequencies_of_the_definition(made: Made, hf: Path) -> None:
    saved = datasets.load_from_disk(hf)
    names = schema().names
    assert saved.column_names == ["layer", "expert", "neuron", *names[2:]]
    assert saved.features.arrow_schema.remove_metadata().field("expert").type == "string"
    total = sum(map(len, made.run.case.ids))
    rows = list(saved)
    assert len(rows) == made.run.case.spec.size.neurons
    for row, (neuron, sign) in zip(rows, made.neurons, strict=True):
        assert (row["layer"], row["expert"], row["neuron"]) == (neuron.layer, neuron.expert, neuron.neuron)
        texts = made.slow.values[neuron.layer, neuron.expert]
        gate, in_ = np.concatenate([values[:, neuron.neuron, :2] for _, values in texts]).T * [[1], [sign]]
        for case in CASES:
            inside = (gate * case.gate_sign > 0) & (in_ * case.in_sign > 0)
            # Gate and in of the tiny model are never within rounding of 0.
            assert row[f"{case.value}_freq"] == np.float32(inside.sum() / total)
            if inside.any():
                strongest = np.abs(gate[inside]).max()
                assert abs(row[f"{case.value}_hook_pre_max_values"][0]) == pytest.approx(strongest, rel=1e-4)


def test_samples_are_of_the_tokens_that_reach_the_expert(made: Made, hf: Path) -> None:
    sample, neurons, fewer = made.run.results.sample, iter(made.neurons), 0
    tokens = list(zip(sample.example.tolist(), sample.position.tolist(), strict=True))
    for layer, own in enumerate(made.run.case.spec.size.layers):
        table = datasets.Dataset.from_file(str(hf / f"samples/layer-{layer:02d}.arrow"))
        assert table.column_names[:3] == ["layer", "expert", "neuron"]
        assert len(table) == own.count
        for row in table:
            neuron, sign = next(neurons)
            assert (row["layer"], row["expert"], row["neuron"]) == (layer, neuron.expert, neuron.neuron)
            texts = made.slow.values[layer, neuron.expert]
            known = {
                (text, int(at)): values[i, neuron.neuron]
                for text, (positions, values) in enumerate(texts)
                for i, at in enumerate(positions)
            }
            expected = [token for token in tokens if token in known]
            assert list(zip(row["sampled_examples"], row["sampled_positions"], strict=True)) == expected
            fewer += len(expected) < len(tokens)
            if expected:
                values = np.array([known[token] for token in expected])
                for name, column, turn in (("pre", 0, 1), ("pre_linear", 1, sign), ("post", 3, sign)):
                    found = row[f"mlp.hook_{name}"]
                    np.testing.assert_allclose(found, turn * values[:, column], rtol=4e-3, atol=1e-3)
    assert fewer > 100


def test_as_the_hub_shows_it(made: Made, hf: Path, tmp_path: Path) -> None:
    shutil.copytree(hf, tmp_path / "hub", ignore=shutil.ignore_patterns("state.json", "dataset_info.json"))
    cache, size = str(tmp_path / "cache"), made.run.case.spec.size
    for name in ("default", "samples"):
        found = datasets.load_dataset(str(tmp_path / "hub"), name, split="train", cache_dir=cache)
        assert len(found) == size.neurons
        assert set(found["expert"]) == {name for layer in size.layers for name in layer.names}
    card = (hf / "README.md").read_text(encoding="utf-8")
    assert f"Statistics of all {size.neurons} gated neurons in 3 layers of" in card
    assert "| `expert` | the expert that the neuron is in" in card
    assert "of them at neurons of a routed expert those that reach it" in card
    assert "{" not in card.replace("{case}", "").replace("{hook}", "")


def test_a_site_folder_has_its_three_names_and_no_value_for_tokens_elsewhere(made: Made, tmp_path: Path) -> None:
    assert write_site(tmp_path / "out", "tiny", made.pages) == len(LISTED)
    (model,) = json.loads((tmp_path / "out" / PAGES).read_text(encoding="utf-8"))
    titles = {layer["title"]: [neuron["title"] for neuron in layer["children"]] for layer in model["children"]}
    assert titles == {"L0": ["N20"], "L1": ["ES-N3", "E2-N3", "E2-N5", "E5-N3"]}
    for layer in model["children"]:
        for neuron in layer["children"]:
            # As the site's own navigation takes it apart: model, layer, neuron.
            assert neuron["url"] == f"tiny/{layer['title']}/{neuron['title']}/vis.html"
            assert (tmp_path / "out" / neuron["url"]).is_file()
    html = (tmp_path / "out/tiny/L1/E2-N3/vis.html").read_text(encoding="utf-8")
    assert "<title>tiny · L1 · E2 · N3 · GLUScope</title>" in html
    page = made.pages[2]
    for case in CASES:
        share, of_expert = page.cases[case].frequency, page.cases[case].count / page.reached  # type: ignore[operator]
        assert (
            f"Frequency: <b>{100 * (share or 0):.2f}%</b>; of the tokens that reach E2 <b>{100 * of_expert:.2f}%</b>."
            in html
        )
    away = 0
    for page in (page for page in made.pages if page.id in ROUTED):
        for case in CASES:
            for i, place in enumerate(page.cases[case].extreme[Quantity.POST]):
                values = np.array(example(page, case, Quantity.POST, i)["values"])
                weight = page.examples[place.example].weight
                assert weight is not None
                elsewhere = np.isnan(weight[: len(values)])
                assert not values[elsewhere].any()
                assert values[~elsewhere].any(axis=1).all()
                away += int(elsewhere.sum())
    assert away > 50


def test_an_export_is_copied_into_a_site_beside_dense_neurons(made: Made, tmp_path: Path) -> None:
    write_site(tmp_path / "out", "tiny", made.pages)
    site = tmp_path / "site"
    site.mkdir()
    old = [{"title": "L1", "children": [{"title": "E10-N0", "url": "u"}, {"title": "N9", "url": "v"}]}]
    (site / PAGES).write_text(json.dumps([{"title": "tiny", "children": old}]))
    assert merge_into(tmp_path / "out", site) == len(LISTED)
    (model,) = json.loads((site / PAGES).read_text(encoding="utf-8"))
    titles = [neuron["title"] for neuron in model["children"][1]["children"]]
    assert titles == ["N9", "ES-N3", "E2-N3", "E2-N5", "E5-N3", "E10-N0"]
    assert (site / "tiny/L1/E2-N5/vis.html").is_file()


def test_neuronpedia_has_a_source_for_each_expert_and_case(made: Made, tmp_path: Path) -> None:
    spec, provenance = made.run.case.spec, made.run.results.provenance
    release = Release("tiny", provenance, 3, spec.d_model, spec.d_mlp, 12, datetime(2026, 1, 2))
    counts = write_neuronpedia(tmp_path / "out", release, made.pages)
    own = {"": "", "ES": "es-", "E2": "e2-", "E5": "e5-"}
    signs = [f"gate-{gate}-in-{in_}" for gate in ("pos", "neg") for in_ in ("pos", "neg")]
    assert counts == {
        f"{layer}-gluscope-{own[expert]}{case}": sum((n.layer, n.expert) == (layer, expert) for n in LISTED)
        for layer, expert in ((0, ""), (1, "ES"), (1, "E2"), (1, "E5"))
        for case in signs
    }
    ids: list[str] = []
    for case, sign in zip(
        CASES, ("gate-pos-in-pos", "gate-pos-in-neg", "gate-neg-in-pos", "gate-neg-in-neg"), strict=True
    ):
        for expert, pages in (("E2", made.pages[2:4]), ("E5", made.pages[4:]), ("ES", made.pages[1:2])):
            place = tmp_path / f"out/v1/tiny/1-gluscope-{own[expert]}{sign}"
            (source,), (sourceset,) = (lines(place / f"{kind}.jsonl") for kind in ("source", "sourceset"))
            # As its web app cuts a source's id: the layer, then the set.
            assert source["id"].partition("-") == ("1", "-", source["setName"])
            assert source["setName"] == sourceset["name"]
            assert f"Neurons of expert {expert} in the sign case {case.value}" in sourceset["description"]
            features, activations = (lines(place / kind / "batch-0.jsonl.gz") for kind in ("features", "activations"))
            assert [feature["index"] for feature in features] == [str(page.id.neuron) for page in pages]
            assert {line["layer"] for line in [*features, *activations]} == {source["id"]}
            hook = {"ES": "mlp.shared_experts.0"}.get(expert, f"mlp.experts.{expert[1:]}")
            assert {feature["hookName"] for feature in features} == {f"blocks.1.{hook}.hook_post"}
            ids += [line["id"] for line in activations]
            check(case, pages, activations)
    assert len(set(ids)) == len(ids) > 50


def check(case: Any, pages: list[NeuronPage], activations: list[dict[str, Any]]) -> None:
    """Values are |post| inside the case, 0 outside and where a token does not reach the expert."""
    places = [(page, place) for page in pages for place in page.cases[case].extreme[Quantity.POST]]
    for (page, place), line in zip(places, activations, strict=True):
        own = page.values(place.example)
        inside = (own[Quantity.GATE] * case.gate_sign > 0) & (own[Quantity.IN] * case.in_sign > 0)
        begin = place.position - line["qualifyingTokenIndex"]
        expected = np.where(inside, np.abs(own[Quantity.POST]), 0)[begin : begin + len(line["values"])]
        np.testing.assert_allclose(line["values"], expected, rtol=1e-3, atol=1e-6)
        assert line["maxValue"] == abs(place.value) == max(line["values"])

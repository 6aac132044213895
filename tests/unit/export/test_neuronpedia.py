"""Neuronpedia's export layout: every line by the schema of its importer's tables, and the numbers in it."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.cases import CASES, Quantity
from gluscope.core.paths import NeuronId
from gluscope.export import neuronpedia
from gluscope.export.neuronpedia import BEFORE, WIDTH, Origin, write_neuronpedia
from gluscope.page.record import NeuronPage, Sample
from helpers import pages
from helpers.published import ABOUT
from jsonschema import Draft202012Validator

SCHEMA = json.loads((Path(__file__).parent / "neuronpedia.schema.json").read_text(encoding="utf-8"))
ORIGIN = Origin(
    run="demo", about=ABOUT, n_layers=3, d_model=16, d_mlp=40, longest=60, created=datetime(2026, 1, 2, 3, 4, 5)
)


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file, each of which must fit its kind's schema."""
    kind = path.parent.name if path.suffix == ".gz" else path.stem
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found = [json.loads(line) for line in data.decode("ascii").splitlines()]
    validator = Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{kind}"})
    for line in found:
        validator.validate(line)
    return found


def page(**changes: Any) -> NeuronPage:
    """L1/N7 over texts longer than what is kept of them, every awkward token among them."""
    made = pages.make(texts=20, length=400)
    vocabulary = 1 + len(pages.HOSTILE) + len(pages.READABLE)
    return made.build(**{"weights": pages.weights(vocabulary), **changes})


def test_files_of_every_source_fit_the_importers_tables(tmp_path: Path) -> None:
    first = page()
    neurons = [replace(first, id=NeuronId(0, 3)), first, replace(first, id=NeuronId(1, 39))]
    counts = write_neuronpedia(tmp_path / "out", ORIGIN, neurons)
    assert counts == {"0-gluscope-post": 1, "1-gluscope-post": 2}
    assert json.loads((tmp_path / "out/sources.json").read_text())["sources"] == counts
    place = tmp_path / "out/v1/model/1-gluscope-post"
    assert sorted(str(path.relative_to(place)) for path in place.rglob("*.*")) == [
        "activations/batch-0.jsonl.gz", "features/batch-0.jsonl.gz", "model.jsonl", "release.jsonl", "source.jsonl",
        "sourceset.jsonl",
    ]  # fmt: skip
    (release,), (model,), (sourceset,), (source,) = (
        lines(place / f"{name}.jsonl") for name in ("release", "model", "sourceset", "source")
    )
    features, activations = (lines(place / name / "batch-0.jsonl.gz") for name in ("features", "activations"))
    assert [feature["index"] for feature in features] == ["7", "39"]
    assert {line["modelId"] for line in [sourceset, source, *features, *activations]} == {model["id"]} == {"model"}
    assert {line["layer"] for line in [*features, *activations]} == {source["id"]} == {"1-gluscope-post"}
    assert source["setName"] == sourceset["name"] == "gluscope-post"
    assert sourceset["releaseName"] == release["name"]
    assert (model["owner"], model["layers"], model["neuronsPerLayer"], model["dimension"]) == ("user", 3, 40, 16)
    assert len({line["id"] for line in activations}) == len(activations)


@pytest.mark.parametrize("convention", ["raw", "refactored"])
def test_lines_say_what_the_page_says(convention: str, tmp_path: Path) -> None:
    shown = page(convention=convention)
    write_neuronpedia(tmp_path / "out", ORIGIN, [shown])
    place = tmp_path / "out/v1/model/1-gluscope-post"
    (feature,) = lines(place / "features/batch-0.jsonl.gz")
    activations = lines(place / "activations/batch-0.jsonl.gz")
    places = [(case, at) for case in CASES for at in shown.cases[case].extreme[Quantity.POST]]
    assert len(activations) == len(places) == 16
    for line, (case, at) in zip(activations, places, strict=True):
        post, tokens = shown.values(at.example)[Quantity.POST], shown.examples[at.example].tokens
        peak = line["qualifyingTokenIndex"]
        begin = at.position - peak
        assert line["dataIndex"] == str(at.example)
        assert line["values"] == post[begin : begin + WIDTH].tolist()
        assert line["tokens"] == [token.text for token in tokens[begin : begin + WIDTH]]
        assert len(line["values"]) == min(WIDTH, len(post))
        assert peak <= BEFORE or begin + WIDTH == len(post)
        assert line["values"][peak] == pytest.approx(at.value, rel=1e-6)
        assert line["values"][line["maxValueTokenIndex"]] == line["maxValue"] == max(line["values"])
        assert line["minValue"] == min(line["values"])
        strongest = shown.cases[case].extreme[Quantity.POST][0].value
        assert (line["binMin"], line["binMax"]) == ((0, strongest) if strongest > 0 else (strongest, 0))
        assert line["binContains"] == shown.cases[case].frequency
    positive = [at.value for _, at in places if at.value > 0]
    assert feature["maxActApprox"] == max(positive)
    written = shown.weights[convention].vectors["out"]
    assert list(zip(feature["pos_str"], feature["pos_values"], strict=True)) == list(written.top)
    assert list(zip(feature["neg_str"], feature["neg_values"], strict=True)) == list(written.bottom)
    assert feature["pos_values"][0] > feature["neg_values"][0]
    sampled = shown.act(shown.sample.gate) * shown.sample.in_
    assert sum(feature["freq_hist_data_bar_heights"]) == len(sampled) == 50
    assert np.all(np.diff(feature["freq_hist_data_bar_values"]) > 0)


def test_what_is_not_known_is_empty(tmp_path: Path) -> None:
    """No samples, no weights, cases that never occur."""
    bare = replace(page(weights=None), sample=Sample.empty())
    nothing = dict.fromkeys(Quantity, ())
    for case in CASES[1:]:
        bare.cases[case] = replace(bare.cases[case], count=0, frequency=0.0, extreme=nothing)
    write_neuronpedia(tmp_path / "out", ORIGIN, [bare])
    place = tmp_path / "out/v1/model/1-gluscope-post"
    (feature,) = lines(place / "features/batch-0.jsonl.gz")
    for name in ("pos_str", "neg_values", "freq_hist_data_bar_heights", "logits_hist_data_bar_values"):
        assert feature[name] == []
    assert {line["binMin"] for line in lines(place / "activations/batch-0.jsonl.gz")} == {0}
    for case in CASES:
        bare.cases[case] = replace(bare.cases[case], count=0, frequency=0.0, extreme=nothing)
    write_neuronpedia(tmp_path / "none", ORIGIN, [bare])
    (feature,) = lines(tmp_path / "none/v1/model/1-gluscope-post/features/batch-0.jsonl.gz")
    assert (feature["maxActApprox"], feature["frac_nonzero"]) == (0, 0)
    assert not lines(tmp_path / "none/v1/model/1-gluscope-post/activations/batch-0.jsonl.gz")


def test_many_neurons_are_cut_into_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuronpedia, "BATCH", 2)
    first = page()
    neurons = [replace(first, id=NeuronId(1, neuron)) for neuron in range(5)]
    assert write_neuronpedia(tmp_path / "a", ORIGIN, neurons) == {"1-gluscope-post": 5}
    place = tmp_path / "a/v1/model/1-gluscope-post"
    found = [[line["index"] for line in lines(place / f"features/batch-{i}.jsonl.gz")] for i in range(3)]
    assert found == [["0", "1"], ["2", "3"], ["4"]]
    for i, indices in enumerate(found):
        assert {line["index"] for line in lines(place / f"activations/batch-{i}.jsonl.gz")} == set(indices)
    write_neuronpedia(tmp_path / "b", ORIGIN, neurons)
    for path in place.rglob("*.gz"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_names_of_a_model_in_a_folder_are_the_runs() -> None:
    local = replace(ORIGIN, run="My_Run", about=ABOUT | {"model": "/a b/model", "model_revision": "sha256:ab"})
    assert (local.model, local.release) == ("my-run", "gluscope-my-run")
    assert replace(ORIGIN, about=ABOUT | {"model": "meta-llama/Llama-3.1-8B"}).model == "llama-3.1-8b"

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
from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.neuron import NeuronId
from gluscope.core.provenance import RunProvenance
from gluscope.export import neuronpedia
from gluscope.export.neuronpedia import BEFORE, WIDTH, write_neuronpedia
from gluscope.export.neuronpedia_source import Release
from gluscope.page.record import NeuronPage, Sample
from helpers import pages
from helpers.neuronpedia_list import FAINTEST, lines, shown
from helpers.published import ABOUT

RELEASE = Release(
    run="demo",
    provenance=RunProvenance.of(ABOUT),
    n_layers=3,
    d_model=16,
    d_mlp=40,
    longest=60,
    created=datetime(2026, 1, 2, 3, 4, 5),
)


def page(**changes: Any) -> NeuronPage:
    """L1/N7 over texts longer than what is kept of them, every awkward token among them."""
    made = pages.make(texts=20, length=400)
    vocabulary = 1 + len(pages.HOSTILE) + len(pages.READABLE)
    return made.build(**{"weights": pages.weights(vocabulary), **changes})


SOURCES = {
    SignCase.GATE_POS_IN_POS: "gluscope-gate-pos-in-pos",
    SignCase.GATE_POS_IN_NEG: "gluscope-gate-pos-in-neg",
    SignCase.GATE_NEG_IN_POS: "gluscope-gate-neg-in-pos",
    SignCase.GATE_NEG_IN_NEG: "gluscope-gate-neg-in-neg",
}


def test_files_of_every_source_fit_the_importers_tables(tmp_path: Path) -> None:
    first = page()
    neurons = [replace(first, id=NeuronId(0, 3)), first, replace(first, id=NeuronId(1, 39))]
    counts = write_neuronpedia(tmp_path / "out", RELEASE, neurons)
    assert counts == {f"{layer}-{name}": layer + 1 for layer in (0, 1) for name in SOURCES.values()}
    assert json.loads((tmp_path / "out/sources.json").read_text())["sources"] == counts
    ids = []
    for case, name in SOURCES.items():
        place = tmp_path / f"out/v1/model/1-{name}"
        assert sorted(str(path.relative_to(place)) for path in place.rglob("*.*")) == [
            "activations/batch-0.jsonl.gz", "features/batch-0.jsonl.gz", "model.jsonl", "release.jsonl", "source.jsonl",
            "sourceset.jsonl",
        ]  # fmt: skip
        (release,), (model,), (sourceset,), (source,) = (
            lines(place / f"{kind}.jsonl") for kind in ("release", "model", "sourceset", "source")
        )
        features, activations = (lines(place / kind / "batch-0.jsonl.gz") for kind in ("features", "activations"))
        assert [feature["index"] for feature in features] == ["7", "39"]
        assert {line["modelId"] for line in [sourceset, source, *features, *activations]} == {model["id"]} == {"model"}
        assert {line["layer"] for line in [*features, *activations]} == {source["id"]} == {f"1-{name}"}
        # As its web app cuts a source's id: the layer, then the set.
        assert source["id"].partition("-") == ("1", "-", source["setName"])
        assert source["setName"] == sourceset["name"] == name
        assert case.value in sourceset["description"]
        assert sourceset["releaseName"] == release["name"]
        assert (model["owner"], model["layers"], model["neuronsPerLayer"], model["dimension"]) == ("user", 3, 40, 16)
        ids += [line["id"] for line in activations]
    assert len(set(ids)) == len(ids) == 2 * 16


@pytest.mark.parametrize("convention", ["raw", "refactored"])
def test_lines_say_what_the_page_says(convention: str, tmp_path: Path) -> None:
    whole = page(convention=convention)
    write_neuronpedia(tmp_path / "out", RELEASE, [whole])
    for case, name in SOURCES.items():
        place = tmp_path / f"out/v1/model/1-{name}"
        (feature,), activations = (lines(place / kind / "batch-0.jsonl.gz") for kind in ("features", "activations"))
        stats, places = whole.cases[case], whole.cases[case].extreme[Quantity.POST]
        assert len(activations) == len(places) == 4
        for line, at in zip(activations, places, strict=True):
            own, tokens = whole.values(at.example), whole.examples[at.example].tokens
            peak = line["qualifyingTokenIndex"]
            begin = at.position - peak
            kept = slice(begin, begin + WIDTH)
            inside = (np.sign(own[Quantity.GATE]) == case.gate_sign) & (np.sign(own[Quantity.IN]) == case.in_sign)
            assert line["dataIndex"] == str(at.example)
            np.testing.assert_allclose(line["values"], (np.abs(own[Quantity.POST]) * inside)[kept], rtol=1e-6)
            assert line["tokens"] == [token.text.replace("\ud800", "\ufffd") for token in tokens[kept]]
            assert len(line["values"]) == min(WIDTH, len(tokens))
            assert peak <= BEFORE or begin + WIDTH == len(tokens)
            assert line["maxValue"] == line["values"][peak] == max(line["values"]) == abs(np.float32(at.value))
            assert line["maxValueTokenIndex"] == peak
            assert line["minValue"] == 0 < line["maxValue"]
            assert (line["binMin"], line["binMax"]) == (0, abs(places[0].value))
            assert line["binContains"] == stats.frequency
        assert feature["maxActApprox"] == abs(places[0].value)
        assert feature["frac_nonzero"] == stats.frequency


@pytest.mark.parametrize("convention", ["raw", "refactored"])
def test_its_list_shows_each_case_as_our_page_does(convention: str, tmp_path: Path) -> None:
    """Maximum, intervals, order, framed token and colours, as Neuronpedia's own code makes them of the lines."""
    whole = page(convention=convention)
    write_neuronpedia(tmp_path / "out", RELEASE, [whole])
    for case, name in SOURCES.items():
        places = whole.cases[case].extreme[Quantity.POST]
        listed = shown(lines(tmp_path / f"out/v1/model/1-{name}/activations/batch-0.jsonl.gz"))
        assert [one.line["dataIndex"] for one in listed] == [str(at.example) for at in places]
        assert {one.bin for one in listed} == {(0.0, abs(places[0].value))}
        assert max(max(one.opacity) for one in listed) == 1.0
        for one in listed:
            assert one.framed == one.line["qualifyingTokenIndex"]
            assert one.opacity[one.framed] == max(one.opacity)
            coloured = np.array(one.opacity) > 0
            assert (coloured == (np.array(one.line["values"]) > FAINTEST)).all()


def test_tokens_are_those_that_the_case_promotes(tmp_path: Path) -> None:
    """Where post is negative the neuron writes -w_out: what w_out suppresses is promoted."""
    whole = page()
    write_neuronpedia(tmp_path / "out", RELEASE, [whole])
    out = whole.weights["raw"].vectors["out"]
    for case, name in SOURCES.items():
        (feature,) = lines(tmp_path / f"out/v1/model/1-{name}/features/batch-0.jsonl.gz")
        promoted, suppressed = (
            list(zip(feature[f"{end}_str"], feature[f"{end}_values"], strict=True)) for end in ("pos", "neg")
        )
        if case in (SignCase.GATE_POS_IN_POS, SignCase.GATE_NEG_IN_NEG):
            assert (promoted, suppressed) == (clean(out.top), clean(out.bottom))
        else:
            assert (promoted, suppressed) == (clean(out.bottom, -1), clean(out.top, -1))
        assert promoted[0][1] > 0 > suppressed[0][1]


def clean(end: tuple[tuple[str, float], ...], sign: int = 1) -> list[tuple[str, float]]:
    return [(text.replace("\ud800", "\ufffd"), sign * score) for text, score in end]


def test_bars_are_of_the_cases_sampled_tokens(tmp_path: Path) -> None:
    whole = page()
    write_neuronpedia(tmp_path / "out", RELEASE, [whole])
    gate, in_ = whole.sample.gate, whole.sample.in_
    counted = 0
    for case, name in SOURCES.items():
        (feature,) = lines(tmp_path / f"out/v1/model/1-{name}/features/batch-0.jsonl.gz")
        inside = (np.sign(gate) == case.gate_sign) & (np.sign(in_) == case.in_sign)
        post = np.abs(whole.act(gate) * in_)[inside]
        heights, middles = feature["freq_hist_data_bar_heights"], feature["freq_hist_data_bar_values"]
        assert sum(heights) == inside.sum()
        assert np.all(np.diff(middles) > 0)
        assert post.min() <= middles[0] <= middles[-1] <= post.max()
        counted += sum(heights)
    assert counted == len(gate) == 50


def test_what_is_not_known_is_empty(tmp_path: Path) -> None:
    """No samples, no weights, cases that never occur."""
    bare = replace(page(weights=None), sample=Sample.empty())
    nothing = dict.fromkeys(Quantity, ())
    for case in CASES[1:]:
        bare.cases[case] = replace(bare.cases[case], count=0, frequency=0.0, extreme=nothing)
    write_neuronpedia(tmp_path / "out", RELEASE, [bare])
    for case, name in SOURCES.items():
        place = tmp_path / f"out/v1/model/1-{name}"
        (feature,) = lines(place / "features/batch-0.jsonl.gz")
        for key in ("pos_str", "neg_values", "freq_hist_data_bar_heights", "logits_hist_data_bar_values"):
            assert feature[key] == []
        texts = lines(place / "activations/batch-0.jsonl.gz")
        assert bool(texts) == (case is CASES[0])
        if not texts:
            assert (feature["maxActApprox"], feature["frac_nonzero"]) == (0, 0)


def test_the_extreme_stands_out_where_recomputed_values_are_rounded(tmp_path: Path) -> None:
    """A value that rounding moved across 0 would leave a text without a maximum, and the list without the text."""
    whole = page()
    case = SignCase.GATE_POS_IN_NEG
    at = whole.cases[case].extreme[Quantity.POST][2]
    moved = whole.examples[at.example]
    moved.in_[at.position] = 1e-8
    write_neuronpedia(tmp_path / "out", RELEASE, [whole])
    texts = lines(tmp_path / f"out/v1/model/1-{SOURCES[case]}/activations/batch-0.jsonl.gz")
    assert texts[2]["values"][texts[2]["qualifyingTokenIndex"]] == texts[2]["maxValue"] == pytest.approx(abs(at.value))


def test_many_neurons_are_cut_into_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuronpedia, "BATCH", 2)
    first = page()
    neurons = [replace(first, id=NeuronId(1, neuron)) for neuron in range(5)]
    assert write_neuronpedia(tmp_path / "a", RELEASE, neurons) == {f"1-{name}": 5 for name in SOURCES.values()}
    place = tmp_path / "a/v1/model/1-gluscope-gate-neg-in-pos"
    found = [[line["index"] for line in lines(place / f"features/batch-{i}.jsonl.gz")] for i in range(3)]
    assert found == [["0", "1"], ["2", "3"], ["4"]]
    for i, indices in enumerate(found):
        assert {line["index"] for line in lines(place / f"activations/batch-{i}.jsonl.gz")} == set(indices)
    write_neuronpedia(tmp_path / "b", RELEASE, neurons)
    for path in (tmp_path / "a").rglob("*.gz"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_nothing_tells_of_somebodys_folders(tmp_path: Path) -> None:
    provenance = ABOUT | {
        "model": "/home/jane/model",
        "model_revision": "sha256:ab",
        "dataset": "/home/jane/texts.jsonl",
    }
    local = replace(RELEASE, run="My_Run", provenance=RunProvenance.of(provenance))
    assert (local.model, local.release) == ("my-run", "gluscope-my-run")
    write_neuronpedia(tmp_path / "out", local, [page()])
    for path in (tmp_path / "out").rglob("*.*"):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert b"jane" not in content, path
    (source,) = lines(tmp_path / "out/v1/my-run/1-gluscope-gate-pos-in-pos/source.jsonl")
    assert source["dataset"] == "texts.jsonl"
    assert (
        replace(RELEASE, provenance=RunProvenance.of(ABOUT | {"model": "meta-llama/Llama-3.1-8B"})).model
        == "llama-3.1-8b"
    )

"""A reader's own text: values as recomputed for the same tokens, and the strongest neurons against plain loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gluscope.browse.maker import PageMaker
from gluscope.browse.own_text import OwnText, model_of_run
from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.errors import ModelError
from gluscope.core.neuron import NeuronId
from gluscope.dataset.reader import TokenDataset
from gluscope.page.tokens import TokenTexts
from gluscope.recompute.from_model import from_model
from gluscope.summary.file import SummaryReader
from helpers.live import client, served
from helpers.tiny_run import TEXTS, TinyRun

RUN = TinyRun.run
TEXT = "the cat sat on a mat and dogs came by the door"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("own"))
        TinyRun().make()
        yield OwnText(served(), model_of_run(served()))


def text_of(row: int) -> tuple[str, np.ndarray]:
    """A text of the data set as its source has it, and its tokens."""
    data = TokenDataset.open(TinyRun.data.folder)
    source = Path(TEXTS).read_text(encoding="utf-8").splitlines()[data.metadata(row)["source_row"]]
    return json.loads(source)["text"], data.input_ids(row)


def test_a_text_of_the_data_set_has_the_values_that_its_page_shows(own: OwnText) -> None:
    data, spec = TokenDataset.open(TinyRun.data.folder), own._model.spec
    for row, layer, place in ((0, 0, 3), (5, 1, 9), (11, 1, 30)):
        text, ids = text_of(row)
        found = own.neuron(text, NeuronId(layer, place))
        assert [token for token, *_ in found["tokens"]] == [
            t.text for t in TokenTexts.read("model").tokens(ids.tolist())
        ]
        values = from_model(spec, data, layer, {place: np.array([row])}, "cpu", "float32", 4096)[place]
        skipped = [skip for *_, skip in found["tokens"]]
        gate, in_, act, post = (np.array(found[name], float) for name in ("gate", "in", "act", "post"))
        assert np.isnan(gate).tolist() == skipped
        np.testing.assert_allclose(gate, np.where(skipped, np.nan, values.gate), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(in_, np.where(skipped, np.nan, values.in_), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(post, act * in_, rtol=1e-5, atol=1e-7)


def by_loops(own: OwnText, text: str) -> dict[SignCase, list[tuple[float, str, float, int, int]]]:
    """(ratio, neuron, value, position, place) of every neuron and case of the run's convention, token by token."""
    summary, (ids, _) = SummaryReader(RUN.summary), own._ids(text)
    sign, counted = summary.sign(), own._counted(ids)
    kept: dict[int, list[torch.Tensor]] = {}
    with own._model.capture(range(2), lambda layer, x, *rest: kept.update({layer: [one[0].clone() for one in rest]})):
        own._model.forward(ids[None])
    found: dict[SignCase, list[tuple[float, str, float, int, int]]] = {case: [] for case in CASES}
    for layer, (gate, in_, _, post) in kept.items():
        listed = summary.layer(layer).extreme_value[:, :, Quantity.POST.index]
        for neuron in range(gate.shape[1]):
            best: dict[SignCase, tuple[float, int]] = {}
            for token in np.flatnonzero(counted).tolist():
                g, u, p = (float(part[token, neuron]) for part in (gate, in_, post))
                u, p = u * int(sign[layer, neuron]), p * int(sign[layer, neuron])
                if g == 0 or u == 0:
                    continue
                case = next(one for one in CASES if one.gate_sign * g > 0 and one.in_sign * u > 0)
                if abs(p) > abs(best.get(case, (0.0, 0))[0]):
                    best[case] = p, token
            for case, (value, token) in best.items():
                row = np.abs(listed[neuron, case.index])
                if not np.isnan(row[-1]):
                    place = 1 + sum(float(one) >= abs(value) for one in row)
                    found[case].append((abs(value) / float(row[-1]), f"L{layer}/N{neuron}", value, token, place))
    return found


def test_the_strongest_neurons_are_those_of_plain_loops(own: OwnText) -> None:
    found, expected = own.strongest(TEXT), by_loops(own, TEXT)
    assert found["convention"] == "refactored"
    assert {case.value for case in CASES} == set(found["cases"])
    for case in CASES:
        entries, wanted = found["cases"][case.value], sorted(expected[case], key=lambda one: -one[0])[:25]
        assert len(entries) == len(wanted)
        np.testing.assert_allclose([one["ratio"] for one in entries], [one[0] for one in wanted], rtol=1e-5)
        known = {name: rest for _, name, *rest in expected[case]}
        for one in entries:
            value, position, place = known[one["neuron"]]
            assert one["value"] == pytest.approx(value, rel=1e-5)
            assert (one["position"], one["place"], one["k"]) == (position, place, 4)
    assert sum(map(len, found["cases"].values())) > 20


def test_a_text_that_is_in_the_lists_enters_them(own: OwnText) -> None:
    """The first text of some neuron's list is first there: nothing that the data set holds is stronger."""
    summary = SummaryReader(RUN.summary)
    layer = summary.layer(1)
    case, post = CASES[0], Quantity.POST.index
    neuron = int(
        np.nanargmax(layer.extreme_value[:, case.index, post, 0] / layer.extreme_value[:, case.index, post, 3])
    )
    text, _ = text_of(int(layer.extreme_example[neuron, case.index, post, 0]))
    entry = next(one for one in own.strongest(text)["cases"][case.value] if one["neuron"] == f"L1/N{neuron}")
    assert entry["ratio"] >= 1
    assert entry["value"] == pytest.approx(float(layer.extreme_value[neuron, case.index, post, 0]), rel=1e-4)


def test_a_long_text_is_cut_where_the_data_sets_are_and_none_is_refused(own: OwnText) -> None:
    found = own.neuron("the cat " * 200, NeuronId(0, 3))
    assert found["cut"]
    assert len(found["tokens"]) == 32 == len(found["gate"])
    assert not own.neuron("the cat", NeuronId(0, 3))["cut"]
    with pytest.raises(ModelError, match="at least one token"):
        own._ids("")


def test_texts_over_the_wire(own: OwnText, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gluscope.browse.maker.refuse_old", lambda files: None)  # the tiny run's stores name no stages
    with client(PageMaker(served()), own) as web:
        good = web.post("/text", json={"text": TEXT, "neuron": "L1/N9"})
        expected = own.neuron(TEXT, NeuronId(1, 9))
        assert good.json().keys() == expected.keys()
        assert good.json()["tokens"] == [list(token) for token in expected["tokens"]]
        posts = [[np.nan if one is None else one for one in found["post"]] for found in (good.json(), expected)]
        assert posts[0] == pytest.approx(posts[1], rel=1e-5, abs=1e-7, nan_ok=True)
        strongest = web.post("/strongest", json={"text": TEXT}).json()["cases"]
        assert {case: len(entries) for case, entries in strongest.items()} == {
            case: len(entries) for case, entries in own.strongest(TEXT)["cases"].items()
        }
        for text in ("<script>alert(1)</script>", "\ud800 lone", "a\0b", "\u202ethgir", "🙂" * 50):
            body = (
                '{"text": "' + text.encode("unicode_escape").decode().replace("\\x", "\\u00") + '", "neuron": "L1/N9"}'
            )
            body = body.replace("\\U0001f642", "\\ud83d\\ude42")
            answer = web.post("/text", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 200, answer.text
        assert web.post("/text", json={"text": "x" * 20_001, "neuron": "L1/N9"}).status_code == 413
        assert web.post("/text", json={"text": " ", "neuron": "L1/N9"}).status_code == 400
        assert web.post("/text", json={"text": 3, "neuron": "L1/N9"}).status_code == 400
        assert web.post("/text", json={"text": TEXT, "neuron": "L9/N9"}).status_code == 404
        assert web.post("/text", json={"text": TEXT}).status_code == 400
        assert web.get("/text").status_code == 405


def test_without_a_model_there_is_no_box_and_no_answer(own: OwnText, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gluscope.browse.maker.refuse_old", lambda files: None)
    with client(PageMaker(served())) as web:
        assert web.post("/strongest", json={"text": TEXT}).status_code == 404
        assert b'"own": null' in web.get("/site/L1/N9.html").content


def test_pages_from_a_loaded_model_are_made_with_it(own: OwnText, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gluscope.browse.maker.refuse_old", lambda files: None)
    monkeypatch.setattr("gluscope.recompute.from_model.load_model", lambda *_: pytest.fail("loaded once more"))
    new = NeuronId(1, 31)
    with client(PageMaker(served(source="model"), own._model)) as web:
        assert web.get(f"/site/{new}.html").status_code == 200
    replayed = PageMaker(served(source="replay", listed={1: [9]}), own._model)
    with client(replayed) as web:
        answer = web.get("/site/L1/N32.html")
    assert b"shown and not kept: the run's replay does not hold this neuron" in answer.content
    assert not Path(served().page(NeuronId(1, 32))).exists()

"""Explanations in Neuronpedia's form: out beside its other lines, and back in at the cases that they were about."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gluscope.core.cases import CASES, SignCase
from gluscope.core.convention import view
from gluscope.core.errors import DatasetError
from gluscope.core.neuron import NeuronId
from gluscope.core.provenance import RunProvenance
from gluscope.core.size import LayerNeurons, Size
from gluscope.descriptions.read import read_descriptions
from gluscope.descriptions.transluce import cases_of
from gluscope.descriptions.types import Description
from gluscope.explain.score import Tally
from gluscope.explain.types import CaseWords, Explanation
from gluscope.export.neuronpedia import write_neuronpedia
from gluscope.export.neuronpedia_source import SETS, Release
from gluscope.export.neuronpedia_words import explanations
from gluscope.page.descriptions_view import DescriptionsView
from gluscope.workflow.whole import check_whole
from helpers import pages
from helpers.neuronpedia_list import lines
from helpers.published import ABOUT
from test_neuronpedia import RELEASE

SAID = (
    Description(cases_of(1), "names \ud800 of capitals", "Transluce, by gpt-4o", 0.4321, "correlation"),
    Description((SignCase.GATE_POS_IN_NEG,), "<b>verbs</b>", "somebody"),
)


def exported(folder: Path, said: tuple[Description, ...], release: Release = RELEASE) -> Path:
    page = pages.make().build(weights=pages.weights(41))
    described = replace(page, descriptions=DescriptionsView(said, "there") if said else None)
    write_neuronpedia(folder, release, [replace(page, id=NeuronId(1, 3)), described])
    check_whole(folder)
    return folder


def test_lines_fit_the_table_and_say_whose_they_are(tmp_path: Path) -> None:
    out = exported(tmp_path / "out", SAID)
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(out.rglob("explanations/*.gz")):
        found[file.parent.parent.name] = lines(file)
    assert {source.removeprefix("1-") for source in found} == {
        SETS[case] for case in (*cases_of(1), SignCase.GATE_POS_IN_NEG)
    }
    for source, own in found.items():
        [line] = own
        assert (line["layer"], line["index"], line["modelId"]) == (source, "7", "model")
        positive = source != "1-" + SETS[SignCase.GATE_POS_IN_NEG]
        assert line["description"] == ("names \ufffd of capitals" if positive else "<b>verbs</b>")
        assert line["notes"] == ("Transluce, by gpt-4o; score 0.432 (correlation)" if positive else "somebody")
    assert len({line["id"] for own in found.values() for line in own}) == 3


def test_the_runs_own_words_come_first_with_their_scores(tmp_path: Path) -> None:
    cases = {case: CaseWords("", 0) for case in CASES}
    said = {"test": Tally(8, 7), "inactive": Tally(8, 1), "other_case": Tally(0, 0)}
    cases[SignCase.GATE_POS_IN_NEG] = CaseWords("numbers", 8, said)
    own = Explanation(NeuronId(1, 7), "a-model", {}, cases, 1, 1)
    page = pages.make().build(weights=pages.weights(41), explained=own)
    found = list(
        explanations(replace(page, descriptions=DescriptionsView(SAID, "")), SignCase.GATE_POS_IN_NEG, RELEASE)
    )
    assert [line["description"] for line in found] == ["numbers", "<b>verbs</b>"]
    scored = "detection 0.875 (balanced accuracy on 8 and 8 texts, 0.5 by chance)"
    assert found[0]["notes"] == f"GLUScope workflow, by a-model; {scored}"
    assert list(explanations(page, SignCase.GATE_POS_IN_POS, RELEASE)) == []


def test_nothing_changes_where_nobody_says_anything(tmp_path: Path) -> None:
    with_words, without = exported(tmp_path / "with", SAID), exported(tmp_path / "without", ())
    assert not list(without.rglob("explanations"))
    for file in sorted(path for path in without.rglob("*") if path.is_file() and path.name != ".files.json"):
        assert (with_words / file.relative_to(without)).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("convention", ["raw", "refactored"])
def test_there_and_back(convention: str, tmp_path: Path) -> None:
    """What the export says of a case is read as about that case of the run's convention, whatever the sign."""
    out = exported(tmp_path / "out", SAID, replace(RELEASE, provenance=RunProvenance.of(ABOUT)))
    found = read_descriptions(out, Size.dense(2, 48), convention).of(1, 7)
    assert {one.words for one in found} == {"names \ufffd of capitals", "<b>verbs</b>"}
    for sign in (1, -1):
        shown = [view(one, sign, one.convention, convention) for one in found]
        for case in CASES:
            own = {one.words for one in shown if case in one.cases}
            expected = {one.words.replace("\ud800", "\ufffd") for one in SAID if case in one.cases}
            assert own == expected
            raw = case.flipped if convention == "refactored" and sign < 0 else case
            turned = [view(one, sign, one.convention, "raw") for one in found]
            assert {one.words for one in turned if raw in one.cases} == expected
    assert {one.by for one in found} == {
        "Neuronpedia: somebody", "Neuronpedia: Transluce, by gpt-4o; score 0.432 (correlation)"
    }  # fmt: skip


def line(**changes: Any) -> dict[str, Any]:
    """As a bulk export of Neuronpedia has it."""
    return {
        "id": "cm0", "modelId": "gpt2-small", "layer": "1", "index": "5", "description": "verbs of motion",
        "authorId": "clkht01d40000jv08hvalcvly", "typeName": "oai_token-act-pair",
        "explanationModelName": "gpt-4o-mini", "umap_x": 0, "embedding": [0.1], **changes,
    }  # fmt: skip


def read(folder: Path, *rows: dict[str, Any], size: Size | None = None) -> Any:
    file = folder / "batch-0.jsonl.gz"
    file.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return read_descriptions(file, size or Size.dense(2, 8), "refactored")


def test_its_own_neurons_have_positive_values(tmp_path: Path) -> None:
    scored = line(
        scores=[{"value": 0.2, "explanationScoreTypeName": "a"}, {"value": 0.7, "explanationScoreTypeName": "b"}]
    )
    assert read(tmp_path, line()).of(1, 5) == (
        Description(cases_of(1), "verbs of motion", "Neuronpedia, by gpt-4o-mini"),
    )
    assert read(tmp_path, line(), scored).of(1, 5) == (
        Description(cases_of(1), "verbs of motion", "Neuronpedia, by gpt-4o-mini", 0.7, "b"),
    )


def test_experts_have_sources_of_their_own(tmp_path: Path) -> None:
    size = Size((LayerNeurons(shared=(4,), experts=3, each=4),))
    rows = [
        line(layer="0-gluscope-e2-gate-neg-in-pos", index="1"),
        line(layer="0-gluscope-es-gate-neg-in-pos", index="3"),
    ]
    found = read(tmp_path, *rows, size=size)
    assert found.neurons == 2
    assert found.of(0, 4 + 2 * 4 + 1)[0].words == "verbs of motion"
    assert found.of(0, 3)[0].cases == (SignCase.GATE_NEG_IN_POS,)
    assert found.of(0, 3)[0].convention == "refactored"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"layer": "6-res-jb"}, "expected a source of MLP neurons under `layer`"),
        ({"layer": "1-gluscope-gate-pos-in-up"}, "found '1-gluscope-gate-pos-in-up'"),
        ({"layer": "7"}, "found L7/N5"),
        ({"index": "05"}, "expected a number from 0 under `index`, found '05'"),
        ({"index": "8"}, "found L1/N8"),
        ({"description": ""}, "expected a text under `description`, found ''"),
        ({"description": None}, "found nothing"),
        ({"scores": [{"value": "high"}]}, "expected a number as score"),
    ],
)
def test_others_are_refused_in_one_line(changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=re.escape(expected)) as refused:
        read(tmp_path, line(**changes))
    assert "\n" not in str(refused.value)
    assert "batch-0.jsonl.gz, line 1" in str(refused.value)


def test_the_sets_of_the_export_are_those_that_are_read(tmp_path: Path) -> None:
    for case, name in SETS.items():
        [one] = read(tmp_path, line(layer=f"1-{name}")).of(1, 5)
        assert one.cases == (case,)

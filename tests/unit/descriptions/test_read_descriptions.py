"""Others' descriptions: every form that Transluce's programs write, which cases they mean, what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.convention import view
from gluscope.core.errors import DatasetError
from gluscope.core.size import LayerNeurons, Size
from gluscope.descriptions.read import dated, read_descriptions
from gluscope.descriptions.types import Description, Descriptions
from gluscope.export.described import DESCRIPTION_COLUMNS, description_columns
from helpers.damage import flip, refused_or_equal

SIZE = Size.dense(2, 8)
POSITIVE, NEGATIVE = ((SignCase.GATE_POS_IN_POS, SignCase.GATE_NEG_IN_NEG),
                      (SignCase.GATE_POS_IN_NEG, SignCase.GATE_NEG_IN_POS))  # fmt: skip


def simulated(**scores: float | None) -> dict[str, Any]:
    """What the pipeline stores of a scored explanation, by split of the texts."""
    own = {"simulation_data": {}, "rsquared_score": 0.1, "absolute_dev_explained_score": 0.2}
    return {split: own | {"ev_correlation_score": score} for split, score in scores.items()}


def explained(layer: int, neuron: int, positive: Any, negative: Any) -> dict[str, Any]:
    """As `NeuronExplanations.model_dump_json()` of the pipeline has it."""
    return {
        "neuron_id": {"layer_index": layer, "neuron_index": neuron},
        "explanations": {"positive": positive, "negative": negative},
        "explanation_generation_metadata": {"positive": None, "negative": None},
    }


def one(words: str, simulations: Any = None) -> dict[str, Any]:
    return {"explanation": words, "simulations": simulations}


def pipeline(folder: Path, *files: dict[str, Any]) -> Path:
    """A folder as the pipeline leaves it."""
    config = {"exemplar_config": {"hf_model_id": "meta-llama/Llama-3.1-8B-Instruct"}, "explainer_model_name": "gpt-4o"}
    folder.mkdir(exist_ok=True)
    (folder / "explanation_config.json").write_text(json.dumps(config))
    for found in files:
        path = folder / "explanations/{layer_index}/{neuron_index}.json".format(**found["neuron_id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
    return folder


def test_the_pipelines_folder(tmp_path: Path) -> None:
    several = [
        one("unscored"),
        one("weak", simulated(valid=0.2, train=0.9)),
        one(" the  best\n", simulated(valid=0.5, test=0.1)),
        one("undefined", simulated(valid=None)),
    ]
    folder = pipeline(
        tmp_path / "out", explained(0, 3, several, None), explained(1, 7, [one("up")], [one("down")])
    )  # fmt: skip
    for place in (folder, folder / "explanations"):
        found = read_descriptions(place, SIZE)
        assert found.model == "meta-llama/Llama-3.1-8B-Instruct"
        by = "Transluce, by gpt-4o"
        measure = "correlation of simulated with true activations, valid texts"
        assert found.of(0, 3) == (Description(POSITIVE, "the best", by, 0.5, measure),)
        assert found.of(1, 7) == (Description(POSITIVE, "up", by), Description(NEGATIVE, "down", by))
        assert found.of(1, 3) == ()
    assert str(folder / "explanations/1") in dated(folder)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_polarity_means_the_cases_with_that_sign_of_post(sign: int, tmp_path: Path) -> None:
    row = {"layer": 0, "neuron": 0, "polarity": sign, "description": "x"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    [said] = read_descriptions(tmp_path / "rows.jsonl", SIZE).of(0, 0)
    assert set(said.cases) == {case for case in CASES if case.sign(Quantity.POST) == sign}
    turned = view(said, -1, "raw", "refactored")
    assert {case.flipped for case in turned.cases} == set(said.cases)
    assert {case.sign(Quantity.POST) for case in turned.cases} == {-sign}
    assert view(said, 1, "raw", "refactored") == said
    assert view(turned, -1, "refactored", "raw") == said


def test_the_database_as_its_server_has_it_and_row_by_row(tmp_path: Path) -> None:
    general = {
        "layer": 1, "neuron": 2, "activation_percentiles": {},
        "descriptions": {"1": {"text": "names", "score": 0.25, "summary": None}, "-1": None},
    }  # fmt: skip
    rows = [
        {"layer": 1, "neuron": 3, "polarity": "-1", "description": "verbs", "description_metadata": {"score": 0.5}},
        {"layer": 1, "neuron": 3, "polarity": -1, "description": "verbs", "score": 0.75, "version": "2"},
    ]
    (tmp_path / "a.json").write_text(json.dumps([general]))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode() + b"\n\n"))
    found = read_descriptions(tmp_path, SIZE)
    assert found.of(1, 2) == (Description(POSITIVE, "names", "Transluce", 0.25, "Transluce's score"),)
    assert found.of(1, 3) == (Description(NEGATIVE, "verbs", "Transluce", 0.75, "Transluce's score"),)


def test_experts_have_their_own(tmp_path: Path) -> None:
    row = {"layer": 0, "neuron": 1, "expert": 2, "polarity": 1, "description": "x"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    size = Size((LayerNeurons(experts=3, each=4),))
    found = read_descriptions(tmp_path / "rows.jsonl", size)
    assert [len(found.of(0, place)) for place in range(12)] == [0] * 9 + [1, 0, 0]


REFUSED = {
    "no JSON": (b'{"neuron_id": ', "expected JSON in UTF-8, found other text (Expecting value"),
    "not UTF-8": (b'"\xff"', "expected JSON in UTF-8"),
    "nested too deep": (b"[" * 100_000, "expected JSON in UTF-8"),
    "something else": (b'{"index": 3, "text": "a"}', "found an object with index, text."),
    "a number": (b"3", "found 3."),
    "another model's layer": (explained(2, 0, [one("x")], None), "(layers 0 to 1, neurons 0 to 7), found L2/N0"),
    "another model's neuron": (explained(1, 8, [one("x")], None), "found L1/N8. Next: name the descriptions of this"),
    "no neuron": ({"neuron_id": {"layer_index": 0}, "explanations": {}}, "under `neuron_index`, found nothing"),
    "a truth value": (explained(0, True, None, None), "expected a number from 0 under `neuron_index`, found True"),
    "below 0": (explained(-1, 0, None, None), "found -1"),
    "another polarity": (
        {"neuron_id": {"layer_index": 0, "neuron_index": 0}, "explanations": {"both": []}},
        "expected a polarity (positive or negative, 1 or -1), found 'both'",
    ),
    "no words": (explained(0, 0, [one(" ")], None), "expected a text under `explanation`, found ' '"),
    "words that are none": (explained(0, 0, [{"explanation": 3}], None), "found 3"),
    "no list": (explained(0, 0, "x", None), "expected a list of explanations, found 'x'"),
    "an empty list": (explained(0, 0, [], None), "(null where there is none), found an empty list"),
    "a score in words": (
        {"layer": 0, "neuron": 0, "polarity": 1, "description": "x", "score": "high"},
        "expected a number as score, found 'high'",
    ),
    "nothing": (b"[]", "expected descriptions of neurons in files of .json"),
    "nobody says anything": (explained(0, 0, None, None), "expected descriptions of neurons in files"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_something_else_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    text, expected = REFUSED[kind]
    file = tmp_path / "found.json"
    file.write_bytes(text if isinstance(text, bytes) else json.dumps(text).encode())
    with pytest.raises(DatasetError) as refused:
        read_descriptions(file, SIZE)
    assert str(file) in str(refused.value)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_damage_and_wrong_names_are_refused_with_file_and_line(tmp_path: Path) -> None:
    row = json.dumps({"layer": 0, "neuron": 0, "polarity": 1, "description": "x"})
    (tmp_path / "rows.jsonl").write_text(f"{row}\n{row[:20]}\n")
    with pytest.raises(DatasetError, match=r"rows.jsonl, line 2: expected JSON in UTF-8"):
        read_descriptions(tmp_path, SIZE)
    (tmp_path / "rows.jsonl").unlink()
    whole = gzip.compress(row.encode() * 50)
    for damaged in (whole[:-20], b"\x1f\x8b" + whole[2:30], row.encode()):
        (tmp_path / "rows.jsonl.gz").write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"rows.jsonl.gz: expected a whole gzip file, found damage"):
            read_descriptions(tmp_path / "rows.jsonl.gz", SIZE)
    with pytest.raises(DatasetError, match="found nothing"):
        read_descriptions(tmp_path / "gone.jsonl", SIZE)
    folder = pipeline(tmp_path / "out", explained(0, 3, [one("x")], None))
    (folder / "explanations/0/3.json").rename(folder / "explanations/0/4.json")
    with pytest.raises(DatasetError, match=r"expected the descriptions of L0/N4, by its name, found those of L0/N3"):
        read_descriptions(folder, SIZE)
    (folder / "explanation_config.json").write_text("{}")
    with pytest.raises(DatasetError, match="expected `exemplar_config` in it, found none"):
        read_descriptions(folder, SIZE)


Found = dict[tuple[int, int], tuple[Description, ...]]


def random_descriptions(seed: int) -> Found:
    rng = np.random.default_rng(seed)
    words = ["é", "\ud800 half", "<b>", "a " * 300, "names of capitals", "\u202e"]
    found = {}
    for layer, place in {(int(layer), int(place)) for layer, place in rng.integers(0, 8, (20, 2))}:
        found[layer, place] = tuple(
            Description(
                tuple(case for case in CASES if rng.random() < 0.5), words[rng.integers(len(words))],
                f"somebody {rng.integers(3)}", float(np.float32(rng.random())) if rng.random() < 0.5 else None,
                "a measure", "raw",
            )
            for _ in range(rng.integers(1, 4))
        )  # fmt: skip
    return found


def all_of(known: Descriptions) -> tuple[list[object], ...]:
    return [known.source, known.digest, known.model], [known.of(layer, at) for layer in range(8) for at in range(8)]


@pytest.mark.parametrize("seed", range(5))
def test_the_runs_own_file_gives_back_what_was_kept(seed: int, tmp_path: Path) -> None:
    found = random_descriptions(seed)
    Descriptions.build(found, "texts/here", "0f", "org/model").save(tmp_path / "a.npz")
    known = Descriptions.read(tmp_path / "a.npz")
    expected = [found.get((layer, place), ()) for layer in range(8) for place in range(8)]
    assert all_of(known) == (["texts/here", "0f", "org/model"], expected)
    assert known.count == sum(map(len, found.values()))
    assert known.neurons == len(found)
    assert known.of(9, 0) == ()
    Descriptions.build(dict(reversed(found.items())), "texts/here", "0f", "org/model").save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    Descriptions.build({}).save(tmp_path / "none.npz")
    assert all_of(Descriptions.read(tmp_path / "none.npz")) == (["", "", ""], [()] * 64)


def test_bits_turned_over_in_it_are_named_or_harmless(tmp_path: Path) -> None:
    Descriptions.build(random_descriptions(0)).save(tmp_path / "a.npz")
    kept = all_of(Descriptions.read(tmp_path / "a.npz"))
    whole = (tmp_path / "a.npz").read_bytes()
    rng, named = np.random.default_rng(0), 0
    for bit in rng.integers(0, 8 * len(whole), 200).tolist():
        (tmp_path / "a.npz").write_bytes(flip(whole, bit))
        named += refused_or_equal(lambda: all_of(Descriptions.read(tmp_path / "a.npz")), kept)
    assert named > 100


@pytest.mark.parametrize("convention", ["raw", "refactored"])
def test_the_tables_columns_by_case(convention: str) -> None:
    found = random_descriptions(1)
    known = Descriptions.build(found)
    sign = np.array([1, -1] * 4, np.int8)
    for layer in range(8):
        columns = {
            name: column.to_pylist() for name, column in description_columns(known, layer, sign, convention).items()
        }
        assert len(columns) == len(CASES) * len(DESCRIPTION_COLUMNS)
        for place in range(8):
            for case in CASES:
                own = case.flipped if convention == "refactored" and sign[place] < 0 else case
                said = [each for each in found.get((layer, place), ()) if own in each.cases]
                expected = said[0].words.replace("\ud800", "?") if said else None
                assert columns[f"{case.value}_description"][place] == expected
                assert columns[f"{case.value}_description_by"][place] == (said[0].by if said else None)
                assert columns[f"{case.value}_description_score"][place] == (said[0].score if said else None)

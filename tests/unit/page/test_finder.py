"""The finder's columns against the statistics they come from."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.cases import CASES, LISTS, Quantity
from gluscope.page import finder, finder_tokens
from gluscope.page.finder import strongest_tokens
from gluscope.page.finder_tokens import END_NAMES, LIST_NAMES, SHOWN
from gluscope.page.pack import unpack
from gluscope.weights.types import COSINES, VECTORS, Cosine
from helpers.finder_data import SCANNED, Model, model


@pytest.fixture(scope="module")
def made() -> Model:
    return model()


def stored(file: Path) -> tuple[dict, dict[str, np.ndarray]]:
    found = re.fullmatch(r'gluscopeBlock\("([^"\\<\n]*)"\);\n', file.read_text(encoding="ascii"))
    assert found
    return unpack(found[1])


def texts_of(folder: Path) -> dict[int, str]:
    header, arrays = stored(folder / "finder/tokens.js")
    return dict(zip(arrays["id"].tolist(), header["tokens"], strict=True))


Found = dict[tuple[int, int, str], dict[str, int]]  # (layer, neuron, list) -> token -> times


def index_of(folder: Path, about: dict, neurons: int) -> Found:
    """All that an index of tokens says."""
    found: Found = {}
    texts = texts_of(folder)
    for file in range(about["files"]):
        header, arrays = stored(folder / f"finder/{about['name']}-{file}.js")
        assert (header["name"], header["file"]) == (about["name"], file)
        ends = [*arrays["begin"].tolist(), len(arrays["step"])][1:]
        for token, begin, end in zip(arrays["id"].tolist(), arrays["begin"].tolist(), ends, strict=True):
            assert token % about["files"] == file
            rows = np.cumsum(arrays["step"][begin:end].astype(np.int64)).tolist()
            for row, number, times in zip(rows, arrays["list"][begin:end], arrays["times"][begin:end], strict=True):
                key = (*divmod(row, neurons), about["lists"][number])
                assert texts[token] not in found.setdefault(key, {})
                found[key][texts[token]] = int(times)
    return found


def brute_force(made: Model) -> Found:
    """Tokens at the places of all lists, one place after another."""
    found: Found = {}
    for layer, summary in enumerate(made.summaries):
        for neuron in range(summary.neurons):
            for case, quantity in LISTS:
                at = (neuron, case.index, quantity.index)
                places = zip(summary.extreme_example[at].tolist(), summary.extreme_position[at].tolist(), strict=True)
                words = Counter(made.words[made.rows.ids[row][place] - 1] for row, place in places if row >= 0)
                if words:
                    found[layer, neuron, f"{quantity.value} {case.value}"] = dict(words)
    return found


def test_columns_are_the_statistics(made: Model, tmp_path: Path) -> None:
    about = made.write(tmp_path)
    assert about["layers"] == ["L0.js", "L1.js", "L2.js"]
    assert about["rows"] == 120
    words = texts_of(tmp_path)
    for layer, (summary, weights) in enumerate(zip(made.summaries, made.weights, strict=True)):
        header, columns = stored(tmp_path / f"finder/L{layer}.js")
        assert header["layer"] == layer
        for case in CASES:
            share = summary.count[:, case.index] / SCANNED
            np.testing.assert_allclose(columns[f"share {case.value}"], share, rtol=1e-3, atol=1e-7)
            post = summary.extreme_value[:, case.index, Quantity.POST.index, 0]
            np.testing.assert_allclose(columns[f"post {case.value}"], np.nan_to_num(post), rtol=1e-3)
        for kind in COSINES:
            np.testing.assert_allclose(columns[kind.value], weights.cosine[:, kind.index], atol=1e-3)
        np.testing.assert_array_equal(columns["class"], weights.rw_class)
        for neuron in range(summary.neurons):
            posts = np.nan_to_num(np.abs(summary.extreme_value[neuron, :, Quantity.POST.index, 0]), nan=-1)
            best = int(posts.argmax())
            if posts[best] < 0:
                assert columns["token"][neuron] == 0xFFFFFFFF
                continue
            at = (neuron, best, Quantity.POST.index, 0)
            token = made.rows.ids[summary.extreme_example[at]][summary.extreme_position[at]]
            assert words[columns["token"][neuron]] == made.words[token - 1]


def test_measured_effects_are_a_column_where_there_are_some(made: Model, tmp_path: Path) -> None:
    made.write(tmp_path)
    assert "effect" not in stored(tmp_path / "finder/L1.js")[1]
    made.write(tmp_path, effects={1: {7: 0.25, 3: 0.0}})
    column = stored(tmp_path / "finder/L1.js")[1]["effect"]
    assert {place: value for place, value in enumerate(column.tolist()) if value != -1} == {7: 0.25, 3: 0}
    assert (stored(tmp_path / "finder/L0.js")[1]["effect"] == -1).all()


@pytest.mark.parametrize("rows", [200_000, 300])
def test_the_index_has_every_token_of_every_list(
    made: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Whether it is one file or several."""
    monkeypatch.setattr(finder_tokens, "_ROWS", rows)
    about = made.write(tmp_path)
    assert (about["lists"]["files"] == 1) == (rows == 200_000)
    assert index_of(tmp_path, about["lists"], 40) == brute_force(made)


def test_a_neurons_own_entry_has_its_lists_commonest_tokens(tmp_path: Path) -> None:
    made = model(words=tuple(f" w{i}" for i in range(40)), k=9)
    made.write(tmp_path)
    words, expected = texts_of(tmp_path), brute_force(made)
    for layer in range(3):
        columns = stored(tmp_path / f"finder/L{layer}-lists.js")[1]
        for neuron in range(40):
            for number, name in enumerate(LIST_NAMES):
                at = (neuron * len(LIST_NAMES) + number) * SHOWN
                tokens, times = (columns[key][at : at + SHOWN].tolist() for key in ("token", "times"))
                found = [(words[token], often) for token, often in zip(tokens, times, strict=True) if often]
                all_ = expected.get((layer, neuron, name), {})
                assert [often for _, often in found] == sorted(all_.values(), reverse=True)[:SHOWN]
                assert all(all_[word] == often for word, often in found)


@pytest.mark.parametrize("convention", ["raw", "refactored"])
def test_the_index_of_what_weights_read_and_write(made: Model, tmp_path: Path, convention: str) -> None:
    about = made.write(tmp_path, convention)
    found = index_of(tmp_path, about["ends"], 40)
    for layer, weights in enumerate(made.weights):
        for neuron in range(40):
            for vector in VECTORS:
                turned = convention == "refactored" and weights.sign[neuron] < 0 and vector.value != "w_gate"
                for end, name in enumerate(("bottom", "top") if turned else ("top", "bottom")):
                    ids = weights.token_id[neuron, vector.index, end].tolist()
                    expected = {made.words[token - 1]: len(ids) - place for place, token in enumerate(ids)}
                    assert found[layer, neuron, f"{vector.value} {name}"] == expected
    assert {key[2] for key in found} == set(END_NAMES)


def test_a_layer_of_many_neurons_is_taken_in_stretches(
    made: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they say together is what the layer says, and nothing else is written otherwise."""
    made.write(tmp_path / "whole")
    monkeypatch.setattr(finder, "OWN", 16)
    about = made.write(tmp_path / "cut")
    assert about["own"] == 16
    names = {file.name for file in (tmp_path / "whole/finder").iterdir()}
    for layer in range(3):
        _, whole = stored(tmp_path / f"whole/finder/L{layer}-lists.js")
        parts = [stored(tmp_path / f"cut/finder/L{layer}-lists-{number}.js") for number in range(3)]
        assert [header for header, _ in parts] == [
            {"layer": layer, "first": first, "arrays": header["arrays"]}
            for first, (header, _) in zip((0, 16, 32), parts, strict=True)
        ]
        for name, values in whole.items():
            np.testing.assert_array_equal(np.concatenate([arrays[name] for _, arrays in parts]), values)
        names.remove(f"L{layer}-lists.js")
    for name in names:
        assert (tmp_path / "cut/finder" / name).read_bytes() == (tmp_path / "whole/finder" / name).read_bytes()


def test_where_positions_are_not_known_no_token_is_shown(made: Model) -> None:
    """As in statistics from published activations."""
    summary = made.summaries[0]
    known = strongest_tokens(summary, made.rows)
    position = summary.extreme_position.copy()
    position[5:] = -1
    found = strongest_tokens(replace(summary, extreme_position=position), made.rows)
    np.testing.assert_array_equal(found[:5], known[:5])
    assert (known[5:] >= 0).any()
    assert (found[5:] == -1).all()


def test_the_refactored_convention_turns_two_cosines(made: Model, tmp_path: Path) -> None:
    made.write(tmp_path, "refactored")
    columns = stored(tmp_path / "finder/L1.js")[1]
    assert (columns[Cosine.GATE_IN.value] >= 0).all()
    raw = made.weights[1].cosine
    np.testing.assert_allclose(np.abs(columns[Cosine.GATE_OUT.value]), np.abs(raw[:, Cosine.GATE_OUT.index]), atol=1e-3)
    np.testing.assert_allclose(columns[Cosine.IN_OUT.value], raw[:, Cosine.IN_OUT.index], atol=1e-3)


def test_written_again_it_is_the_same_and_nothing_old_stays(made: Model, tmp_path: Path) -> None:
    made.write(tmp_path)
    before = {file.name: file.read_bytes() for file in (tmp_path / "finder").iterdir()}
    (tmp_path / "finder/L9.js").write_text("old")
    made.write(tmp_path)
    assert {file.name: file.read_bytes() for file in (tmp_path / "finder").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["finder"]

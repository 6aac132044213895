"""The finder's columns against the statistics they come from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.cases import CASES, Quantity
from gluscope.page.finder import strongest_tokens
from gluscope.page.pack import unpack
from gluscope.weights.types import COSINES, Cosine
from helpers.finder_data import SCANNED, Model, model


@pytest.fixture(scope="module")
def made() -> Model:
    return model()


def stored(file: Path) -> tuple[dict, dict[str, np.ndarray]]:
    found = re.fullmatch(r'gluscope(Layer|Tokens)\("([^"\\<\n]*)"\);\n', file.read_text(encoding="ascii"))
    assert found
    return unpack(found[2])


def test_columns_are_the_statistics(made: Model, tmp_path: Path) -> None:
    about = made.write(tmp_path)
    assert about["layers"] == ["L0.js", "L1.js", "L2.js"]
    assert about["rows"] == 120
    words = stored(tmp_path / "finder/tokens.js")[0]["tokens"]
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

"""From the scan to the page of a neuron whose expert no token reaches, and of one that a token drives."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.cases import CASES, QUANTITIES, Quantity
from gluscope.page.render import card, render_page
from helpers.expert_run import ExpertRun
from helpers.planted_expert import GATE, IN, PLANTED, POST, UNREACHED, Planted, plant

SOURCES = ["cache", "replay", "model"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def run(planted: Planted) -> ExpertRun:
    return ExpertRun.make(planted.case)


@pytest.mark.parametrize("source", SOURCES)
def test_a_page_says_that_no_token_reaches_the_expert(run: ExpertRun, source: str, tmp_path: Path) -> None:
    assert run.values(UNREACHED, source, tmp_path).rows.tolist() == []
    made = run.page(UNREACHED, source, tmp_path)
    assert (made.reached, made.examples) == (0, {})
    for case in CASES:
        stats = made.cases[case]
        assert (stats.count, stats.frequency) == (0, 0.0)
        assert [stats.mean[quantity] for quantity in QUANTITIES] == [None] * 4
        assert not any(stats.extreme.values())
    html = render_page(made)
    head = html[: html.index("<script")] + "".join(re.findall(r"<noscript>.*?</noscript>", html, re.DOTALL))
    assert "0 (0 % of all)" in html
    assert not re.search(r"\b(NaN|nan|None|undefined)\b", head)
    assert card(made)["headline"].startswith("No token of this data set reaches E5. ")
    assert "nan" not in str(card(made)).lower()
    assert card(made)["value"] is None


@pytest.mark.parametrize("source", SOURCES)
def test_a_page_shows_the_planted_neuron_as_planted(
    planted: Planted, run: ExpertRun, source: str, tmp_path: Path
) -> None:
    """In the refactored convention w_in is negated: gate and in point the other way in the weights."""
    made = run.page(PLANTED, source, tmp_path)
    reached = [token for ids in planted.case.ids for token in ids if 4 in planted.reach[1](token)]
    assert (made.sign, made.reached) == (-1, len(reached))
    case = CASES[0]
    assert {name: made.cases[name].count for name in CASES} == {
        name: len(planted.at) * (name is case) for name in CASES
    }
    mean = made.cases[case].mean
    assert [mean[quantity] for quantity in QUANTITIES] == pytest.approx([GATE, -IN, GATE, -POST], rel=1e-6)
    for place in made.cases[case].extreme[Quantity.POST]:
        assert (place.example, place.position) in planted.at
        assert place.value == pytest.approx(-POST, rel=1e-6)
    for row, example in made.examples.items():
        there = np.array(planted.case.ids[row]) == planted.token
        np.testing.assert_allclose(example.gate[there], GATE, rtol=1e-3)
        np.testing.assert_allclose(example.in_[there], -IN, rtol=1e-3)
        assert not np.nan_to_num(example.gate[~there]).any()
    assert f"{len(reached):,} (" in render_page(made)

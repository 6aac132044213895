"""The list shown as files for papers, and how its texts are shown."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gluscope.core.cases import Quantity, SignCase
from gluscope.page.record import NeuronPage

Open = Callable[..., Any]


def saved(tab: Any, button: str) -> Path:
    with tab.expect_download() as download:
        tab.click(button)
    return Path(download.value.path())


def test_the_list_as_csv_and_latex(open_page: Open, file: Path, page: NeuronPage) -> None:
    tab = open_page(file, "#case=gate-_in-&list=gate")
    with open(saved(tab, "#list-csv"), newline="", encoding="utf-8") as handle:
        head, *rows = csv.reader(handle)
    places = page.cases[SignCase("gate-_in-")].extreme[Quantity.GATE]
    assert [(int(row[1]), int(row[2])) for row in rows] == [(place.example, place.position) for place in places]
    gate = [float(row[head.index("gate")]) for row in rows]
    assert gate == pytest.approx([place.value for place in places], rel=1e-3)
    assert {row[4] for row in rows} == {"gate-_in-"}
    latex = saved(tab, "#list-latex").read_text(encoding="utf-8").splitlines()
    assert latex[0].startswith("\\begin{tabular}{rrrllrrrr}")
    assert len(latex) == len(places) + 6
    assert all(line.count(" & ") == 8 and line.endswith("\\\\") for line in latex[4:-2])


def test_choices_of_colours_and_context(open_page: Open, file: Path) -> None:
    tab = open_page(file, "#case=gate-_in-&list=in")
    shown = tab.locator("#list .text").first
    before = shown.locator(".t").count()
    tab.click('[data-set="wide=1"]')
    assert shown.locator(".t").count() > before
    tab.click('[data-set="only=1"]')
    assert "only=1" in tab.url
    other = tab.locator("#list .t.strong").evaluate_all(
        "(all) => all.map(({ place, parentElement: { example } }) => [example.gate[place], example.in[place]])"
    )
    assert other
    assert all(gate < 0 and in_ < 0 for gate, in_ in other)
    tab.click('[data-set="only=1"]')
    assert "only" not in tab.url
    tab.click('[data-set="lines=1"]')
    assert tab.locator("#list br").count()

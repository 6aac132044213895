"""A start page that lists the pages that exist, whatever happened to them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.core.provenance import RunProvenance
from gluscope.page import refresh
from gluscope.page.refresh import refresh_index, refresh_indexes, start_page
from gluscope.page.render import render_page
from gluscope.page.site import render_index, write_index
from gluscope.store.listing import LISTING, check_listed
from helpers.pages import make

PATHS = RunPaths("demo")
INDEX = Path(PATHS.index)


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose model and summary say what they have to."""
    monkeypatch.chdir(tmp_path)
    spec = SimpleNamespace(model="org/model", n_layers=2, d_mlp=48)
    monkeypatch.setattr(refresh.ModelSpec, "read", lambda path: spec)
    provenance = {"dataset": "texts", "tokens": 5000, "k": 4, "convention": "raw"}
    monkeypatch.setattr(refresh, "SummaryReader", lambda path: SimpleNamespace(provenance=RunProvenance.of(provenance)))


def write(neuron: NeuronId, seed: int = 0) -> None:
    path = Path(PATHS.page(neuron))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_page(replace(make(texts=4, length=20, seed=seed).build(), id=neuron)), encoding="utf-8")


def listed() -> list[tuple[int, int]]:
    found = start_page(INDEX)
    assert found is not None
    check_listed(INDEX.parent, whole=True)
    return [(card["layer"], card["neuron"]) for card in found["cards"]]


def whole_index(cards: list[dict[str, Any]]) -> None:
    finder = {"folder": "finder", "rows": 96, "layers": ["L0.js"], "classes": [], "weights": False}
    (INDEX.parent / "finder").mkdir(parents=True, exist_ok=True)
    (INDEX.parent / "finder/L0.js").write_text("x")
    html = render_index(run="demo", model="m", n_layers=2, d_mlp=48, cards=cards, finder=finder, options=" --x")
    write_index(INDEX, html, 1_500_000_000_000_000_000)


def test_the_first_page_has_a_start_page_that_is_older_than_anything() -> None:
    assert not refresh_index("demo"), "no page, no start page"
    write(NeuronId(1, 7))
    assert refresh_index("demo", " --configfile a.yaml")
    assert listed() == [(1, 7)]
    assert INDEX.stat().st_mtime < 1.1e9, "so the whole one is made when somebody asks for it"
    assert "tokens 5,000" in INDEX.read_text()


def test_pages_come_go_and_change() -> None:
    whole_index([])
    for neuron in (NeuronId(1, 7), NeuronId(0, 12)):
        write(neuron)
        assert refresh_index("demo")
        assert not refresh_index("demo"), "nothing is written where nothing changed"
    assert listed() == [(0, 12), (1, 7)]
    before = start_page(INDEX)
    assert before is not None
    write(NeuronId(0, 12), seed=5)
    assert refresh_index("demo")
    after = start_page(INDEX)
    assert after is not None
    assert after["cards"][0] != before["cards"][0]
    assert after["cards"][1] == before["cards"][1]
    Path(PATHS.page("L0/N12")).unlink()
    assert refresh_index("demo")
    assert listed() == [(1, 7)]
    assert (after["finder"]["rows"], after["options"]) == (96, " --x"), "data of all neurons stay"
    assert INDEX.stat().st_mtime == 1.5e9, "and their date"


def test_old_pages_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    write(NeuronId(1, 7))
    refresh_index("demo")
    later = (INDEX.parent / LISTING).stat().st_mtime + 10
    os.utime(INDEX.parent / LISTING, (later, later))
    monkeypatch.setattr(refresh, "read_card", lambda *_: pytest.fail("read"))
    assert not refresh_index("demo")


def test_a_damaged_page_is_left_out_and_a_damaged_start_page_made_anew() -> None:
    for neuron in (NeuronId(1, 7), NeuronId(0, 12)):
        write(neuron)
    Path(PATHS.page("L1/N7")).write_text("no page")
    assert refresh_index("demo")
    assert listed() == [(0, 12)]
    INDEX.write_text("no index")
    assert refresh_index("demo")
    assert listed() == [(0, 12)]


def test_what_keeps_it_from_being_written_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    write(NeuronId(1, 7))
    monkeypatch.setattr(refresh, "write_index", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no")))
    assert refresh_indexes(["demo", "other"], "") == [f"warning: {PATHS.index} may not list all pages: [Errno 13] no"]

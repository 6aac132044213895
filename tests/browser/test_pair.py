"""Two neurons side by side in a real browser: both frames show the same, and what differs is right."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.neuron import NeuronId
from gluscope.page.numbers import percent
from gluscope.page.pair import render_pair
from gluscope.page.record import NeuronPage
from helpers.pages import make, weights

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def pages() -> list[NeuronPage]:
    """Of one data set; with signs of their own, in two conventions."""
    found = [make(texts=14, length=60, k=6, samples=80, seed=seed) for seed in (0, 1)]
    left, right = (one.build(weights=weights(41)) for one in found)
    return [left, replace(right, id=NeuronId(2, 9), examples=right.examples)]


@pytest.fixture(scope="module")
def pair(pages: list[NeuronPage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pair") / "pair.html"
    html = render_pair(pages[0], pages[1], ["../L1/N7.html", "../L2/N9.html"])
    path.write_text(html, encoding="utf-8", newline="\n")
    return path


def pressed(tab: Any, switch: str) -> list[str | None]:
    frames = [tab.frame_locator(f"#frame-{i}") for i in (0, 1)]
    return [frame.locator(f'[data-set="{switch}"]').get_attribute("aria-pressed") for frame in frames]


def test_what_one_shows_the_other_shows(open_page: Open, pair: Path) -> None:
    tab = open_page(pair)
    left, right = (tab.frame_locator(f"#frame-{i}") for i in (0, 1))
    left.locator('[data-set="case=gate-_in-"]').click()
    right.locator('[data-set="list=gate"]').click()
    left.locator('[data-set="color=in"]').click()
    right.locator('[data-set="convention=refactored"]').click()
    for switch in ("list=gate", "color=in", "convention=refactored"):
        assert pressed(tab, switch) == ["true", "true"]
    case = pressed(tab, "case=gate-_in+")
    assert case == ["true", "true"], "of a neuron that is turned, in+ and in- swap"
    again = open_page(pair, "#" + tab.url.partition("#")[2])
    assert pressed(again, "list=gate") == pressed(again, "case=gate-_in+") == ["true", "true"]
    tab.click("#theme")
    assert len({frame.locator("html").get_attribute("data-theme") for frame in (left, right)}) == 1


def test_what_differs_is_the_records(open_page: Open, pair: Path, pages: list[NeuronPage]) -> None:
    tab = open_page(pair, "#case=gate-_in-&list=post&convention=raw")
    rows = tab.locator("#differs tbody tr").all()
    for case, row in zip(CASES, rows, strict=True):
        cells = row.locator("td").all_inner_texts()
        assert cells[:2] == [percent(page.cases[case].frequency) for page in pages]
    case = SignCase("gate-_in-")
    lists = [page.cases[case].extreme[Quantity.POST] for page in pages]
    shared = {place.example for place in lists[0]} & {place.example for place in lists[1]}
    assert re.search(rf"post in gate− in−: {len(shared)} of 6", tab.inner_text("#both-of"))
    assert tab.locator("#both li:not(.muted)").count() == len(shared)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_read_by_all_and_on_a_phone(open_page: Open, pair: Path, axe: str, theme: str) -> None:
    tab = open_page(pair, color_scheme=theme, bypass_csp=True)
    tab.evaluate(axe)
    found = tab.evaluate("axe.run(document, { iframes: false }).then((found) => found.violations)")
    assert [(one["id"], [node["html"] for node in one["nodes"][:3]]) for one in found] == []
    tab.set_viewport_size({"width": 360, "height": 740})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_pair_stays_small(pair: Path) -> None:
    assert pair.stat().st_size < 1_000_000

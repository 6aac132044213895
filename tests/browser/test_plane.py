"""The plane of gate and in: a click, a region, a dot, and both conventions, against the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.cases import CASES, LISTS, Quantity
from gluscope.page.record import NeuronPage

Open = Callable[..., Any]
SHOWN = """(all) => all.map((one) => {
    const text = one.querySelector('.text');
    return [text.example.row, text.querySelector('.mark').place + (text.example.offset ?? 0)];
})"""


def shown(tab: Any) -> list[tuple[int, int]]:
    tab.evaluate("document.querySelectorAll('#list details').forEach((one) => { one.open = true; })")
    return [tuple(place) for place in tab.locator("#list .example").evaluate_all(SHOWN)]


def address(tab: Any, key: str) -> list[float]:
    return [float(n) for n in tab.evaluate(f"new URLSearchParams(location.hash.slice(1)).get('{key}')").split(",")]


def tokens(page: NeuronPage) -> Iterator[tuple[int, int, float, float]]:
    """(row, position, gate, in) of all sampled tokens and listed extremes, as float16 keeps them."""
    sample = page.sample
    yield from zip(
        sample.example.tolist(), sample.position.tolist(), map(float, sample.gate), map(float, sample.in_), strict=True
    )
    for case, quantity in LISTS:
        for place in page.cases[case].extreme[quantity]:
            values = page.values(place.example)
            gate, in_ = (np.float16(values[q][place.position]) for q in (Quantity.GATE, Quantity.IN))
            yield place.example, place.position, float(gate), float(in_)


def inside(page: NeuronPage, region: list[float]) -> set[tuple[int, int]]:
    g0, u0, g1, u1 = region
    return {(row, at) for row, at, gate, in_ in tokens(page) if g0 <= gate <= g1 and u0 <= in_ <= u1}


def drag(tab: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one corner to another, in shares of the figure."""
    box = tab.locator("#plane").bounding_box()
    for i, (x, y) in enumerate((start, end)):
        tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        (tab.mouse.up if i else tab.mouse.down)()


def test_a_click_shows_the_closest_tokens(open_page: Open, file: Path, page: NeuronPage) -> None:
    tab = open_page(file)
    tab.locator("#plane").click(position={"x": 180, "y": 200})
    assert "list=near" in tab.url
    gate, in_ = address(tab, "near")
    low, high = (np.array(tab.evaluate(f"({ENDS})()"))[:, i] for i in (0, 1))
    away = {(r, p): float(np.hypot(*((np.array([g, u]) - [gate, in_]) / (high - low)))) for r, p, g, u in tokens(page)}
    expected = sorted(away.values())[:16]
    assert [away[place] for place in shown(tab)] == pytest.approx(expected, abs=2e-3)


# The ends of both axes, read back from where two places of the plane lie.
ENDS = """() => {
    const figure = document.querySelector('#plane'), box = figure.getBoundingClientRect();
    const at = (x, y) => {
        const [clientX, clientY] = [box.left + x * box.width, box.top + y * box.height];
        figure.dispatchEvent(new MouseEvent('click', {clientX, clientY}));
        return new URLSearchParams(location.hash.slice(1)).get('near').split(',').map(Number);
    };
    const before = location.hash;
    const [low, high] = [at(0, 1), at(1, 0)];
    location.hash = before;
    return [0, 1].map((i) => [low[i], high[i]]);
}"""


@pytest.mark.parametrize("corners", [((0.3, 0.3), (0.8, 0.7)), ((0.95, 0.08), (0.6, 0.4))])
def test_a_drag_shows_the_tokens_of_the_region(
    open_page: Open, file: Path, page: NeuronPage, corners: tuple[tuple[float, float], tuple[float, float]]
) -> None:
    tab = open_page(file)
    drag(tab, *corners)
    region = address(tab, "region")
    assert region[0] < region[2]
    assert region[1] < region[3]
    expected = inside(page, region)
    sampled = set(zip(page.sample.example.tolist(), page.sample.position.tolist(), strict=True))
    assert f"{len(expected & sampled)} sampled tokens" in tab.locator("#list .band").first.inner_text()
    if tab.locator("#show-all").count():
        assert len(shown(tab)) == 24 < len(expected)
        tab.click("#show-all")
    assert set(shown(tab)) == expected
    again = open_page(file, "#" + tab.url.partition("#")[2])
    assert shown(again) == shown(tab)
    assert again.locator("#cross rect").count() == 1
    tab.click('[data-set="case=gate+_in-"]')
    assert "region" not in tab.url


def test_a_region_by_keys(open_page: Open, file: Path, page: NeuronPage) -> None:
    tab = open_page(file)
    tab.locator("#plane").focus()
    tab.keyboard.press("ArrowUp")
    for key in ["ArrowRight"] * 6 + ["ArrowUp"] * 9:
        tab.keyboard.press(f"Shift+{key}")
    assert "to gate" in tab.locator("#live").inner_text()
    tab.keyboard.press("Enter")
    region = address(tab, "region")
    assert region[0] == 0 < region[1] < region[3]
    assert set(shown(tab)) == inside(page, region) != set()
    tab.locator("#plane").focus()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("Enter")
    assert "list=near" in tab.url


def test_a_region_with_nothing_in_it_says_so(open_page: Open, file: Path) -> None:
    tab = open_page(file, "#list=region&region=90,90,91,91")
    assert "no extreme lies in this region" in tab.inner_text("#list")


@pytest.mark.parametrize("start", ["#list=region&region=-1,0.2,0.5,2", "#list=near&near=1,1", "#case=gate-_in-"])
def test_the_other_convention_keeps_the_same_tokens_in_view(open_page: Open, file: Path, start: str) -> None:
    tab = open_page(file, start)
    before = shown(tab)
    tab.keyboard.press("c")
    assert "convention=refactored" in tab.url
    assert shown(tab) == before != []
    tab.keyboard.press("c")
    assert shown(tab) == before


def test_a_dot_leads_to_its_text(open_page: Open, file: Path) -> None:
    tab = open_page(file)
    tab.locator("#dots circle").last.dispatch_event("click")
    assert tab.locator(".example.chosen").count() == 1
    assert "text=" in tab.url


def test_cells_hold_the_sampled_tokens(open_page: Open, file: Path, page: NeuronPage) -> None:
    """The squares that are drawn are as many as there are different places on the grid, blue where post is below 0."""
    tab = open_page(file)
    squares = tab.locator("#plane .density path").evaluate_all(
        "(all) => all.map((one) => [one.getAttribute('class'), one.getAttribute('d').split('M').length - 1])"
    )
    gate, in_ = (values.astype(float) for values in (page.sample.gate, page.sample.in_))
    axis = tab.locator("#plane .axes line").evaluate_all(
        "(all) => all.map((l) => [+l.getAttribute('x1'), +l.getAttribute('y1')])"
    )
    low, high = (np.array(tab.evaluate(f"({ENDS})()"))[:, i] for i in (0, 1))
    per_unit = np.array([480 - 34 - 10, 480 - 10 - 34]) / (high - low)
    assert axis[0][0] == pytest.approx(34 - low[0] * per_unit[0], abs=0.5)
    for sign, post in (("pos", gate * in_ > 0), ("neg", gate * in_ < 0)):
        places = {
            (np.floor(g * per_unit[0] / 6), np.floor(-u * per_unit[1] / 6))
            for g, u in zip(gate[post], in_[post], strict=True)
        }
        assert sum(count for kind, count in squares if kind == sign) == pytest.approx(len(places), abs=1)
    assert sum(page.cases[case].count or 0 for case in CASES) > 0


def test_the_pointer_reads_the_plane(open_page: Open, file: Path) -> None:
    tab = open_page(file)
    tab.locator("#plane").hover(position={"x": 300, "y": 120})
    assert "post" in tab.locator("#readout").text_content()
    tab.mouse.move(1300, 20)
    assert tab.locator("#readout").text_content() == ""

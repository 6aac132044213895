"""The page of a neuron of an expert: tokens that reach the expert, both shares, the router's weight at each example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.cases import CASES, LISTS, Quantity
from gluscope.core.neuron import NeuronId
from gluscope.page.numbers import percent
from gluscope.page.record import NeuronPage
from gluscope.page.render import render_page
from helpers.expert_run import ExpertRun
from helpers.scan_case import prepare

Open = Callable[..., Any]
NEURON = NeuronId(1, 3, "E2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ExpertRun:
    return ExpertRun.make(prepare(tmp_path_factory.mktemp("experts"), "Qwen2MoeForCausalLM"))


@pytest.fixture(scope="module")
def page(run: ExpertRun) -> NeuronPage:
    return run.page(NEURON, "replay", run.folder)


@pytest.fixture(scope="module")
def file(page: NeuronPage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site") / "L1/E2/N3.html"
    path.parent.mkdir(parents=True)
    path.write_text(render_page(page), encoding="utf-8", newline="\n")
    return path


def shown(tab: Any, page: NeuronPage, case: str, quantity: str) -> list[tuple[int, int, Any]]:
    """(row, position, element) of every example of a list."""
    tab.click(f'[data-set="case={case}"]')
    tab.click(f'[data-set="list={quantity}"]')
    tab.evaluate("document.querySelectorAll('#list details').forEach((one) => { one.open = true; })")
    found = []
    for one in tab.locator("#list .example").all():
        row, position = one.get_attribute("data-text").split(":")
        found.append((int(row), int(position), one))
    return found


def test_tokens_that_do_not_reach_the_expert_are_plain_grey(open_page: Open, file: Path, page: NeuronPage) -> None:
    tab = open_page(file)
    soft, ink = (tab.evaluate(f"getComputedStyle(document.querySelector('{one}')).color") for one in (".muted", "body"))
    assert soft != ink
    seen = {True: 0, False: 0}
    for case, quantity in LISTS[:4]:
        for row, _, one in shown(tab, page, case.value, quantity.value):
            if (more := one.locator("button.more")).count():
                more.click()
            tokens = one.locator(".t").evaluate_all(
                "(all) => all.map((t) => [t.place, t.classList.contains('elsewhere'), getComputedStyle(t).color,"
                " t.style.getPropertyValue('--t'), t.classList.contains('skipped')])"
            )
            weight = page.examples[row].weight
            assert weight is not None
            assert [place for place, *_ in tokens] == list(range(len(weight)))
            for place, elsewhere, colour, strength, skipped in tokens:
                assert elsewhere == bool(np.isnan(weight[place]))
                seen[elsewhere] += 1
                if elsewhere:
                    assert colour == soft
                    assert skipped or float(strength or 0) == 0
    assert min(seen.values()) > 20


def test_both_shares_are_said(open_page: Open, file: Path, page: NeuronPage) -> None:
    tab = open_page(file)
    assert page.reached
    for case in CASES:
        card, stats = tab.locator(f'.card[data-case="{case.value}"]').inner_text(), page.cases[case]
        assert stats.count is not None
        assert percent(stats.frequency) in card
        assert f"{percent(stats.count / page.reached)} of the tokens that reach E2" in card
    assert f"{percent(page.reached / page.provenance.tokens)} of tokens reach E2" in tab.locator("body").inner_text()


def test_every_example_has_the_routers_weight_at_its_place(open_page: Open, file: Path, page: NeuronPage) -> None:
    tab = open_page(file)
    for case, quantity in LISTS:
        places = {(place.example, place.position) for place in page.cases[case].extreme[quantity]}
        examples = shown(tab, page, case.value, quantity.value)
        assert {(row, position) for row, position, _ in examples} == places
        for row, position, one in examples:
            weight = page.examples[row].weight
            assert weight is not None
            said = one.locator(".router").inner_text()
            assert float(said.removeprefix("router ")) == pytest.approx(float(weight[position]), rel=6e-3)


def test_a_tooltip_says_the_weight_or_that_a_token_goes_elsewhere(open_page: Open, file: Path) -> None:
    tab = open_page(file)
    tab.locator("#list .t:not(.elsewhere):not(.skipped)").first.hover()
    assert "router's weight 0." in tab.locator(".tip").inner_text()
    tab.locator("#list .t.elsewhere:not(.skipped)").first.hover()
    assert "does not reach E2" in tab.locator(".tip").inner_text()
    known = tab.evaluate("window.neuronReady.then((n) => [n.expert, n.reached, Object.values(n.examples)[0].weight])")
    assert known[0] == "E2"
    assert None in known[2]


def test_a_shared_experts_page_has_no_router(open_page: Open, run: ExpertRun, tmp_path: Path) -> None:
    made = run.page(NeuronId(1, 19, "ES"), "replay", tmp_path)
    (tmp_path / "ES.html").write_text(render_page(made), encoding="utf-8", newline="\n")
    tab = open_page(tmp_path / "ES.html")
    assert tab.locator(".router").count() == tab.locator(".elsewhere").count() == tab.locator(".of-expert").count() == 0
    assert made.reached is None
    assert "L1 · ES · N19" in tab.locator("h1").inner_text()
    assert made.cases[CASES[0]].extreme[Quantity.POST]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1366])
def test_it_can_be_read_by_all(open_page: Open, file: Path, axe: str, theme: str, width: int) -> None:
    tab = open_page(file, color_scheme=theme, viewport={"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.evaluate(axe)
    found = tab.evaluate("axe.run()")
    assert [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found["violations"]] == []

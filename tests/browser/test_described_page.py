"""Others' words on a page: at the cases that they mean, in both conventions, as text, in light and dark, and narrow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gluscope.core.cases import CASES, Quantity
from gluscope.descriptions.transluce import cases_of
from gluscope.descriptions.types import Description, Descriptions
from gluscope.page.descriptions_view import descriptions_view
from gluscope.page.render import render_page
from helpers.pages import HOSTILE, make, weights

Open = Callable[..., Any]
POSITIVE, NEGATIVE = "names of capitals, " * 12, "".join(HOSTILE)
SAID = (
    Description(cases_of(1), POSITIVE, "Transluce, by gpt-4o", 0.4321, "correlation, valid texts"),
    Description(cases_of(-1), NEGATIVE, "Transluce, by gpt-4o"),
)


@pytest.fixture(scope="module", params=["raw", "refactored"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a neuron whose sign is -1, stored in either convention."""
    known = Descriptions.build({}, "neuron-descriptions", "0f" * 16, "meta-llama/Llama-3.1-8B-Instruct")
    view = descriptions_view(known, SAID, -1, request.param)
    page = make().build(weights=weights(41), convention=request.param, descriptions=view)
    path = tmp_path_factory.mktemp("described") / "page.html"
    path.write_text(render_page(page), encoding="utf-8")
    return path


def shown(tab: Any) -> dict[str, str]:
    """By case, the first words of its card."""
    cards = tab.locator("article[data-case]").all()
    return {card.get_attribute("data-case"): card.locator(".described q").inner_text()[:17] for card in cards}


def test_each_case_has_the_words_that_mean_it(open_page: Open, file: Path) -> None:
    """Positive is post above 0 in the raw convention; with the convention turned, below."""
    for convention, sign in (("raw", 1), ("refactored", -1)):
        tab = open_page(file, f"#convention={convention}")
        found = shown(tab)
        positive = {case.value for case in CASES if case.sign(Quantity.POST) == sign}
        assert {case for case, words in found.items() if words.strip('"“”').startswith("names of")} == positive
        assert len(found) == 4
    tab.locator("[data-set='convention=raw']").click()
    assert shown(tab) == {case: found[CASES[i ^ 1].value] for i, case in enumerate(case.value for case in CASES)}
    note = tab.locator("article[data-case='gate+_in+'] .described .muted").first
    assert note.inner_text() == "Transluce, by gpt-4o, score 0.432"
    assert note.locator("[title]").get_attribute("title") == "correlation, valid texts"
    assert "names of capitals" in tab.evaluate("JSON.stringify(window.neuron.descriptions)")


@pytest.mark.parametrize("width", [360, 1366])
def test_it_fits_and_can_be_read(open_page: Open, file: Path, axe: str, width: int) -> None:
    tab = open_page(file, viewport={"width": width, "height": 768})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.evaluate(axe)
    wrong = tab.evaluate("axe.run('.cards').then((found) => found.violations.map((one) => one.id))")
    assert wrong == []

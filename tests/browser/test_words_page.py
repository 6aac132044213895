"""A language model's words on a page, at the head of each case's card, with scores; and in the start page's search."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gluscope.core.cases import CASES
from gluscope.core.neuron import NeuronId
from gluscope.explain.score import Tally
from gluscope.explain.types import CaseWords, Explanation
from gluscope.page.render import card, render_page
from gluscope.page.site import render_index
from helpers.finder_data import model
from helpers.pages import HOSTILE, make, weights

Open = Callable[..., Any]
SAID = {"test": Tally(8, 7), "inactive": Tally(8, 1), "other_case": Tally(4, 2), "just_under": Tally(6, 5),
        "right": Tally(8, 8), "wrong": Tally(7, 0)}  # fmt: skip
WORDS = [
    CaseWords("`None` after “is” or “is not”, in a condition", 8, SAID),
    CaseWords("".join(HOSTILE), 8, {kind: Tally(2, 1) for kind in ("test", "inactive")}, 3),
    CaseWords("", 4),
    CaseWords("a single text", 1),
]


@pytest.fixture(scope="module", params=["raw", "refactored"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a neuron whose sign is -1, stored in either convention; its words are by the raw cases."""
    versions = dict.fromkeys(("explain", "detect", "fuzz"), "0a1b2c3d")
    said = Explanation(NeuronId(2, 14), "<b>some</b>/model", versions, dict(zip(CASES, WORDS, strict=True)), 28, 22_000)
    page = make().build(weights=weights(41), convention=request.param, explained=said)
    path = tmp_path_factory.mktemp("words") / "page.html"
    path.write_text(render_page(page), encoding="utf-8")
    return path


def heads(tab: Any) -> dict[str, str]:
    """By case, the lines right below the head of its card."""
    cards = tab.locator("article[data-case]").all()
    heads = {card.get_attribute("data-case"): card.locator("header + .in-words").inner_text() for card in cards}
    return {case: "\n".join(filter(None, text.splitlines())) for case, text in heads.items()}


def test_each_case_has_its_words_and_scores_in_both_conventions(open_page: Open, file: Path) -> None:
    tab = open_page(file, "#convention=raw")
    found = heads(tab)
    assert found["gate+_in+"].splitlines() == [
        "`None` after “is” or “is not”, in a condition",
        "finds texts 0.88 (8+8) · near misses 0.69 (8+4) · marked token 1.00 (8+7)",
    ]
    assert "<script>window.hacked=1</script>" in found["gate+_in-"]
    assert "finds texts 0.50 (2+2)" in found["gate+_in-"]
    assert found["gate-_in+"] == "In words: no answer could be used."
    assert found["gate-_in-"].splitlines() == ["a single text", "too few texts to judge by"]
    first = tab.locator("article[data-case='gate+_in+'] .in-words")
    assert first.get_attribute("title") == "From 8 texts. Of 6 texts just under the list it says yes to 5."
    assert "0.88 on 8 + 8 texts. Throwing a coin gives 0.5 ± 0.13." in first.locator("[title]").first.get_attribute(
        "title"
    )
    assert "by <b>some</b>/model, from" in tab.locator(".words-by").inner_text()
    assert tab.locator(".words-by").get_attribute("title") == (
        "prompts: explain 0a1b2c3d, detect 0a1b2c3d, fuzz 0a1b2c3d"
    )
    tab.locator("[data-set='convention=refactored']").click()
    assert heads(tab) == {case.value: found[case.flipped.value] for case in CASES}
    assert tab.locator(".words-by").count() == 1


@pytest.mark.parametrize("width", [360, 1366])
def test_it_fits_and_can_be_read(open_page: Open, file: Path, axe: str, width: int) -> None:
    tab = open_page(file, viewport={"width": width, "height": 768})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.evaluate(axe)
    wrong = tab.evaluate("axe.run('.cards').then((found) => found.violations.map((one) => one.id))")
    assert wrong == []


def test_a_page_without_words_has_no_trace_of_them(open_page: Open, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(render_page(make().build(weights=weights(41))), encoding="utf-8")
    assert open_page(path).locator(".in-words, .words-by").count() == 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """index.html of a site with two neurons that are put into words, and one that is not."""
    folder = tmp_path_factory.mktemp("site")
    cards = [card(replace(make().build(), id=NeuronId(0, 12)))]
    for neuron, words in ((NeuronId(1, 7), ["names of Capitals", "<b>x</b>"]), (NeuronId(2, 0), ["a comma", "rivers"])):
        cases = dict.fromkeys(CASES, CaseWords("", 0)) | {
            case: CaseWords(said, 8, SAID) for case, said in zip(CASES, words, strict=False)
        }
        said = Explanation(neuron, "a/model", {}, cases, 9, 9)
        cards.append(card(replace(make().build(explained=said), id=neuron)))
    index = folder / "index.html"
    html = render_index(
        run="demo", model="org/model", n_layers=3, d_mlp=40, cards=cards, finder=model().write(folder), facts=[]
    )
    index.write_text(html, encoding="utf-8")
    return index


def named(tab: Any) -> list[str]:
    """The neurons that the finder's table shows."""
    return [row.inner_text() for row in tab.locator("#finder-table tbody tr td:nth-child(2)").all()]


def test_words_are_searched_among_pages_and_among_all_neurons(open_page: Open, site: Path) -> None:
    tab = open_page(site, ready="html.finder-ready")
    tab.select_option("#ask-how", "words")
    tab.fill("#search", "capitals")
    tab.locator("#asked", has_text="1 neuron by words about them").wait_for()
    assert named(tab) == ["N7"]
    assert tab.locator("#pages .row").count() == 1
    assert tab.locator("#finder-table td.found-lists").inner_text().strip('"“”') == "names of Capitals"
    again = open_page(site, tab.evaluate("location.hash"), ready="html.finder-ready")
    again.locator("#asked", has_text="1 neuron by words about them").wait_for()
    assert named(again) == ["N7"]
    with tab.expect_download() as download:
        tab.click("#take-csv")
    rows = list(csv.DictReader(Path(download.value.path()).read_text(encoding="utf-8").splitlines()))
    assert [(row["layer"], row["neuron"], row["words"]) for row in rows] == [("1", "7", "names of Capitals")]
    tab.fill("#search", "<B>")
    tab.locator("#finder-table td.found-lists", has_text="<b>x</b>").wait_for()
    tab.fill("#search", "s")
    tab.locator("#asked", has_text="2 neurons by words about them").wait_for()
    assert tab.locator("#pages .row").count() == 2
    tab.fill("#search", "mountains")
    tab.locator("#finder-empty:not([hidden])").wait_for()
    assert tab.locator("#finder-empty").inner_text() == ("No words about a neuron that has a page contain “mountains”.")
    tab.select_option("#ask-how", "token")
    tab.fill("#search", "aren")
    tab.locator("#asked", has_text="1 token").wait_for()
    assert len(named(tab)) > 10


def test_without_words_the_choice_is_not_there(open_page: Open, tmp_path: Path) -> None:
    index = tmp_path / "index.html"
    cards = [card(replace(make().build(), id=NeuronId(0, 12)))]
    data = model().write(tmp_path)
    index.write_text(
        render_index(run="demo", model="m", n_layers=3, d_mlp=40, cards=cards, finder=data), encoding="utf-8"
    )
    tab = open_page(index, "#search=aren&how=words", ready="html.finder-ready")
    assert tab.locator("#ask-how option").count() == 2
    assert tab.locator("#ask-how").input_value() == "token"

"""Small things that a reader stumbles over: tooltips, narrow windows, keys, forced colours, characters that join."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gluscope.page.record import NeuronPage
from gluscope.page.render import render_page
from helpers.pages import make

Open = Callable[..., Any]
BLANK = (" ", "    ", "\n", " \n \n", "\t\t\t", "            ", "\n    ", " " * 40, "\n" * 30, " \t" * 12)


def stored(page: NeuronPage, path: Path) -> Path:
    path.write_text(render_page(page), encoding="utf-8")
    return path


def test_a_tooltip_says_null_nowhere(open_page: Open, tmp_path: Path) -> None:
    """Of typical tokens whose texts are not in the page only themselves have values."""
    page = make(texts=60, length=30, k=2, samples=200).build()
    listed = {one.example for stats in page.cases.values() for places in stats.extreme.values() for one in places}
    page = replace(page, examples={row: page.examples[row] for row in listed})
    tab = open_page(stored(page, tmp_path / "page.html"), "#list=typical")
    tab.locator("#list details").evaluate_all("(all) => all.forEach((one) => { one.open = true; })")
    unknown = 0
    for block in tab.locator("#list .text").all()[:8]:
        for token in block.locator(".t").all()[:4]:
            token.hover()
            shown = tab.locator(".tip").inner_text()
            assert "null" not in shown
            unknown += "not computed here" in shown
    assert unknown


def test_a_long_revision_breaks(open_page: Open, page: NeuronPage, tmp_path: Path) -> None:
    known = replace(page.provenance, model_revision="sha256:" + "0123456789abcdef" * 4, dataset_revision="f" * 64)
    path = stored(replace(page, provenance=known), tmp_path / "page.html")
    tab = open_page(path, viewport={"width": 360, "height": 740})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("width", [360, 768, 1100])
def test_blank_tokens_stay_in_their_card(open_page: Open, tmp_path: Path, width: int) -> None:
    words = (*BLANK, *BLANK, *BLANK, " the", "abc")
    path = stored(make(texts=8, length=50, words=words).build(), tmp_path / "page.html")
    tab = open_page(path, viewport={"width": width, "height": 740})
    beyond = tab.locator(".card .t, #list .text .t").evaluate_all(
        """(all) => all.filter((one) => {
          const frame = one.closest(".card, .body").getBoundingClientRect();
          return [...one.getClientRects()].some((box) => box.right > frame.right + 1 || box.left < frame.left - 1);
        }).map((one) => JSON.stringify(one.textContent))"""
    )
    assert beyond == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_the_skip_link_keeps_what_is_shown(open_page: Open, file: Path) -> None:
    address = "#case=gate-_in-&list=in&color=gate"
    tab = open_page(file, address)
    tab.keyboard.press("Tab")
    assert tab.locator(".skip").evaluate("(one) => one === document.activeElement")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "examples"
    assert tab.url.endswith(address)
    for switch in ("case=gate-_in-", "list=in", "color=gate"):
        assert tab.locator(f'[data-set="{switch}"]').get_attribute("aria-pressed") == "true"


def test_forced_colours_show_which_button_is_pressed(open_page: Open, file: Path) -> None:
    tab = open_page(file, forced_colors="active")
    pressed, other = (
        tab.locator(f'#examples [data-set^="color="][aria-pressed="{now}"]').first.evaluate(
            "(one) => [getComputedStyle(one).backgroundColor, getComputedStyle(one).color]"
        )
        for now in ("true", "false")
    )
    assert pressed[0] != other[0]
    assert pressed[0] != pressed[1]


def test_joined_characters_are_shown_joined(open_page: Open, tmp_path: Path) -> None:
    words = (" 👩‍👩‍👧", " می‌خواهم", " क्‍ष", "a\u200db", " the")
    tab = open_page(stored(make(texts=6, length=30, words=words).build(), tmp_path / "page.html"))
    tab.locator("#list .more").first.click()
    shown = "".join(tab.locator("#list .t").all_text_contents())
    for word in words[:3]:
        assert word.strip() in shown
    assert "a⟨U+200D⟩b" in shown


def test_words_are_explained_where_they_stand(open_page: Open, file: Path) -> None:
    """By the pointer, the keyboard's focus and a tap; every word has its entry in the help."""
    tab = open_page(file)
    words = tab.eval_on_selector_all("[data-word]", "(all) => [...new Set(all.map((one) => one.dataset.word))].sort()")
    assert words == ["act", "case", "class", "convention", "gate", "in", "list", "post", "promotes"]
    for word in words:
        tab.evaluate("document.activeElement.blur()")
        tab.locator(f'[data-word="{word}"]').first.hover()
        said = tab.inner_text(".tip")
        entry = tab.locator(f'[data-entry="{word}"] + dd').text_content()
        assert entry.split(":")[0] in said
    tab.keyboard.press("Escape")
    assert tab.locator(".tip").is_hidden()
    tab.locator('.card dfn[data-word="promotes"]').first.focus()
    tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("Tab")
    assert "approximation" in tab.inner_text(".tip")
    assert "approximation" in tab.inner_text("#live")
    box = tab.locator(".tip").bounding_box()
    assert box["x"] >= 0


def test_above_and_below_zero_differ_without_colours(open_page: Open, file: Path) -> None:
    """Dots are discs or rings, bars of a histogram full or hollow, a card's share whole or striped."""
    tab = open_page(file, forced_colors="active")
    fill = "(one) => getComputedStyle(one).fill"
    above, below = (tab.eval_on_selector(f"#dots .dot.{sign}", fill) for sign in ("pos", "neg"))
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert above != below
    assert below != tab.eval_on_selector("#dots .dot.neg", "(one) => getComputedStyle(one).stroke"), paper
    strokes = [
        tab.eval_on_selector(f".card.{sign} .histogram rect", "(one) => getComputedStyle(one).stroke")
        for sign in ("pos", "neg")
    ]
    assert strokes[0] == "none" != strokes[1]
    images = [
        tab.eval_on_selector(f".card.{sign} .bar span", "(one) => getComputedStyle(one).backgroundImage")
        for sign in ("pos", "neg")
    ]
    assert images[0] == "none"
    assert "gradient" in images[1]

"""The page's HTML: escaping, what shows without JavaScript, and the stored page that it must stay the same as."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from gluscope.page.bundle import NEURON_PAGE, START_PAGE
from gluscope.page.pack import unpack
from gluscope.page.record import NeuronPage
from gluscope.page.render import card, inert_json, render_page, visible
from helpers.pages import HOSTILE, make, weights

GOLDEN = Path(__file__).parents[2] / "golden/page.html"
OUTER = {"script": 3, "style": 1, "noscript": 1}


class Reader(HTMLParser):
    """Elements and attributes of a page, and text by element."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.events: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.events += [name for name, _ in attrs if name.startswith("on") or name == "style"]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


@pytest.fixture(scope="module")
def page() -> NeuronPage:
    return make().build(weights=weights(41))


@pytest.fixture(scope="module")
def html(page: NeuronPage) -> str:
    return render_page(page)


def test_hostile_texts_add_no_element_and_no_handler(html: str) -> None:
    reader = read(html)
    assert {tag: reader.tags.count(tag) for tag in OUTER} == OUTER
    assert not {"img", "iframe", "object", "embed", "base"} & set(reader.tags)
    assert reader.events == []
    assert html.count("<!--") == 0


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_escaped_everywhere(text: str) -> None:
    from dataclasses import replace

    page = make(texts=4, words=(text,)).build()
    page = replace(page, provenance=replace(page.provenance, model=text, dataset=text, command=text, note=text))
    html = render_page(page)
    html.encode("utf-8")
    assert {tag: read(html).tags.count(tag) for tag in OUTER} == OUTER
    assert "\x00" not in html
    assert "\u202e" not in html
    found = re.search(r'<script type="application/json" id="card">(.*?)</script>', html, re.DOTALL)
    assert found
    assert json.loads(found[1])["token"] == text


def test_without_javascript_the_statistics_are_there(page: NeuronPage, html: str) -> None:
    text = read(html).text
    for stats in page.cases.values():
        assert f"{stats.count:,}" in text
    assert "Gate open on" in text
    for fact in ("org/model <b>", "abc123", "f00", "float32", "torch 2.13", "518", "snakemake --cores 2 results/demo"):
        assert fact in text


def test_nothing_is_fetched(html: str) -> None:
    assert "default-src 'none'" in html
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", html)
    assert not re.search(r"<(link(?! rel=\"icon\" href=\"data:)|img|script[^>]*\ssrc)", html)


def test_assets_have_no_way_for_text_to_become_html() -> None:
    for script in (NEURON_PAGE.script, START_PAGE.script):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script)
        assert "</script" not in script
        assert "<!--" not in script


def test_links_to_other_neurons_are_left_out_without_a_site(page: NeuronPage) -> None:
    assert "index.html" in render_page(page)
    assert "index.html" not in render_page(page, index=None)


def test_card_says_what_a_list_of_pages_needs(page: NeuronPage) -> None:
    shown = card(page)
    assert (shown["layer"], shown["neuron"], shown["rw_class"]) == (1, 7, "weakening")
    assert shown["value"] == page.cases[next(c for c in page.cases if c.value == shown["case"])].extreme[
        next(q for q in page.cases[next(iter(page.cases))].extreme if q.value == "post")
    ][0].value  # fmt: skip
    assert "<" not in inert_json(shown)


def test_visible_text_can_be_encoded() -> None:
    assert visible("a\x00\ud800\u202eb\n") == "a␀⟨U+D800⟩⟨U+202E⟩b\n"


@pytest.mark.parametrize("text", ["👩‍👩‍👧", "❤️‍🔥", "می‌خواهم", "क्‍ष"])
def test_joiners_stay_where_they_join(text: str) -> None:
    assert visible(text) == text
    joiner = next(character for character in text if character in "\u200c\u200d")
    for alone in (joiner, f"a{joiner}b", f"{joiner}{text[0]}", f"{text[0]}{joiner}", f"a{joiner}{text[0]}"):
        assert f"⟨U+{ord(joiner):04X}⟩" in visible(alone)


def test_the_page_is_the_stored_one(page: NeuronPage) -> None:
    """Scripts and styles aside, which change often and are tested in a browser. The data block may be compressed
    otherwise; what it opens to is the same.
    """
    html = render_page(page)
    for part in (NEURON_PAGE.script, NEURON_PAGE.style):
        html = html.replace(part, "")
    html = re.sub(r"sha256-[^']+", "sha256-", html)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(html, encoding="utf-8", newline="\n")
    stored, block = _without_block(GOLDEN.read_text(encoding="utf-8"))
    now, new_block = _without_block(html)
    step = "If that is meant: UPDATE_GOLDEN=1 pytest tests/unit/page/test_render.py, then look at git diff"
    assert stored == now, f"the page differs from {GOLDEN.name}. {step}"
    (header, arrays), (new_header, new_arrays) = unpack(block), unpack(new_block)
    assert header == new_header, f"the data differ from {GOLDEN.name}. {step}"
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, new_arrays[name], err_msg=f"{name} differs from {GOLDEN.name}. {step}")


def _without_block(html: str) -> tuple[str, str]:
    before, block, after = re.split(r'(?<=id="data">)([^<]*)', html)
    return before + after, block

"""What leaves the page: data, figures, links, citations, paper."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pytest
from gluscope.core.cases import Quantity
from gluscope.page.record import NeuronPage
from gluscope.page.render import render_page
from helpers.pages import HOSTILE, make, weights

Open = Callable[..., Any]
SVG = "{http://www.w3.org/2000/svg}"


def saved(tab: Any, button: str) -> tuple[str, bytes]:
    with tab.expect_download() as download:
        tab.click(button)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_the_data_can_be_saved(open_page: Open, file: Path, page: NeuronPage) -> None:
    name, content = saved(open_page(file), "#download")
    assert name == "demo-L1-N7.json"
    found = json.loads(content)
    assert found["cases"] == json.loads(json.dumps(page.window()["cases"]))
    assert found["provenance"]["model_revision"] == "abc123"


def test_the_plane_as_svg_is_light_in_any_theme(open_page: Open, file: Path, page: NeuronPage) -> None:
    pictures = [saved(open_page(file, color_scheme=theme), "#save-svg") for theme in ("light", "dark")]
    assert pictures[0] == pictures[1]
    root = ElementTree.fromstring(pictures[0][1])
    assert root.tag == f"{SVG}svg"
    assert "org/model <b>, layer 1, neuron 7 (raw)" in [text.text for text in root.iter(f"{SVG}text")]
    assert any("Cells: 80 sampled tokens" in (text.text or "") for text in root.iter(f"{SVG}text"))
    assert len(list(root.iter(f"{SVG}circle"))) == sum(
        len(stats.extreme[Quantity.POST]) for stats in page.cases.values()
    )
    assert "var(" not in pictures[0][1].decode()
    assert all(
        path.get("fill", "").startswith("rgb(") or path.get("fill") == "none" for path in root.iter(f"{SVG}path")
    )


def test_nothing_of_the_figure_is_cut(open_page: Open, page: NeuronPage, tmp_path: Path) -> None:
    """Also with a long name; what it says is all there."""
    known = replace(page.provenance, model="some-organisation/a-model-with-a-rather-long-name-7b-instruct-2026-final")
    path = tmp_path / "page.html"
    path.write_text(render_page(replace(page, provenance=known)), encoding="utf-8")
    tab = open_page(path)
    content = saved(tab, "#save-svg")[1].decode()
    beyond, texts = tab.evaluate(
        """(content) => {
          const frame = document.createElement("div");
          const drawn = new DOMParser().parseFromString(content, "image/svg+xml").documentElement;
          frame.append(drawn);
          document.body.replaceChildren(frame);
          const box = drawn.getBoundingClientRect(), texts = [...drawn.querySelectorAll("text")];
          const out = (t) => t.left < box.left || t.right > box.right + 0.5 || t.top < box.top || t.bottom > box.bottom;
          return [texts.filter((one) => out(one.getBoundingClientRect())).map((one) => one.textContent),
            texts.map((one) => one.textContent)];
        }""",
        content,
    )
    assert beyond == []
    assert "Dashed: equal post." in " ".join(texts)
    assert known.model in " ".join(texts)


def test_the_plane_as_png(open_page: Open, tmp_path: Path) -> None:
    """Also with tokens that XML could not hold."""
    path = tmp_path / "page.html"
    page = make(texts=6, length=len(HOSTILE) + 4, words=(*HOSTILE, "\ufffe"), k=6).build()
    path.write_text(render_page(page), encoding="utf-8")
    name, content = saved(open_page(path), "#save-png")
    assert name == "demo-L1-N7.png"
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (1920, 2136)
    assert len(content) > 20_000


def test_link_and_citation_are_copied(open_page: Open, file: Path, page: NeuronPage) -> None:
    tab = open_page(file, "#color=gate", permissions=["clipboard-read", "clipboard-write"])

    def copied(button: str) -> str:
        tab.click(button)
        tab.locator(button, has_text="copied").wait_for()
        return str(tab.evaluate("navigator.clipboard.readText()"))

    assert copied("#copy-link") == tab.url
    sentence = copied("#copy-citation")
    assert "Layer 1, neuron 7 of org/model <b> (revision abc123)" in sentence
    for part in (f"{page.provenance.tokens} tokens of texts (revision f00)", "raw sign convention", "run demo"):
        assert part in sentence
    assert "workflow 0.1.0, after Gerstner and Schütze, arXiv 2602.23826" in sentence
    entry = copied("#copy-bibtex")
    assert entry.startswith("@misc{gluscope-L1-N7,")
    assert sentence.replace("_", r"\_") in entry
    own, paper = entry.split("\n\n")
    assert "author = {{The GLUScope workflow authors}}," in own
    assert "year = {2026}," in own
    assert "url" not in own, "a file on this machine's disk has no address to cite"
    for part in (
        "author = {Gerstner, Sebastian and Sch",
        "year = {2026},",
        "url = {https://arxiv.org/abs/2602.23826},",
    ):
        assert part in paper


def test_an_example_has_a_link_of_its_own(open_page: Open, file: Path) -> None:
    tab = open_page(file, "#list=in")
    link = tab.locator("#list .place a").nth(2)
    row = tab.locator("#list .example").nth(2).get_attribute("data-text")
    again = open_page(file, "#" + link.evaluate("(one) => one.href").partition("#")[2])
    assert again.locator(".example.chosen").get_attribute("data-text") == row
    assert again.locator('[data-set="list=in"]').get_attribute("aria-pressed") == "true"


def test_the_tab_and_a_shared_link_name_the_neuron(open_page: Open, file: Path, page: NeuronPage) -> None:
    tab = open_page(file)
    assert re.fullmatch(r"L1 N7 “.+” · org/model <b> · GLUScope", tab.title())
    meta = tab.locator("meta[property]").evaluate_all(
        "(all) => all.map((m) => [m.getAttribute('property'), m.content])"
    )
    assert dict(meta)["og:title"] == tab.title()
    assert "Gate open on" in dict(meta)["og:description"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_paper_the_glance_is_one_light_page(open_page: Open, tmp_path: Path, theme: str) -> None:
    """US letter less its margins, at 96 px an inch."""
    words = tuple(f" {word}" for word in ("the", "neuron", "was", "seen", "to", "write", "what", "it", "reads"))
    file = tmp_path / "page.html"
    file.write_text(
        render_page(make(texts=14, length=90, k=6, words=words).build(weights=weights(10))), encoding="utf-8"
    )
    wide, high = 8.5 * 96 - 2 * 42, 11 * 96 - 2 * 42
    tab = open_page(file, color_scheme=theme, viewport={"width": int(wide), "height": int(high)})
    if theme == "dark":
        tab.click("#theme")
        tab.click("#theme")
    tab.emulate_media(media="print")
    box = tab.locator("#cards").bounding_box()
    assert box["y"] + box["height"] < high
    assert tab.evaluate("document.documentElement.scrollWidth") <= wide
    assert not tab.locator("#open-help").is_visible()
    assert tab.locator("#convention-note").is_visible()
    ink, paper = tab.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert np.mean([int(n) for n in re.findall(r"\d+", ink)]) < 60
    assert paper == "rgb(255, 255, 255)"


def test_nearest_neurons_are_asked_of_the_start_page(
    open_page: Open, file: Path, page: NeuronPage, tmp_path: Path
) -> None:
    """It knows which have a page; without a site there is nobody to ask."""
    assert page.weights is not None
    near = [f"../index.html#go=L{layer}/N{neuron}" for layer, neuron, _ in page.weights["raw"].nearest]
    found = open_page(file).locator("#weights .near a").evaluate_all("(all) => all.map((a) => a.getAttribute('href'))")
    assert found == near
    alone = tmp_path / "page.html"
    alone.write_text(render_page(page, index=None), encoding="utf-8")
    assert open_page(alone).locator("#weights .near a").count() == 0


def test_help_opens_and_closes_by_keys(open_page: Open, file: Path, axe: str) -> None:
    tab = open_page(file, bypass_csp=True)
    tab.keyboard.press("?")
    assert tab.locator("#help").is_visible()
    tab.evaluate(axe)
    found = tab.evaluate("axe.run('#help').then((found) => found.violations)")
    assert [(one["id"], [node["html"] for node in one["nodes"][:3]]) for one in found] == []
    tab.keyboard.press("Escape")
    assert not tab.locator("#help").is_visible()


def test_a_neuron_that_no_token_moves(open_page: Open, tmp_path: Path) -> None:
    """All gates are 0: no case has a token, nothing is drawn that was not there, no error."""
    from helpers.pages import of_texts, summarise

    made = make(texts=4, length=20, k=4, samples=20)
    gate = [np.zeros_like(values) for values in made.gate]
    chosen = list(zip(made.sample.example.tolist(), made.sample.position.tolist(), strict=True))
    nothing = np.zeros(0, np.float32)
    page = made.build(
        summary=summarise(gate, made.in_, 4, chosen), weights=weights(41),
        recomputed=of_texts(np.zeros(0, int), np.zeros(0, int), nothing, nothing),
    )  # fmt: skip
    path = tmp_path / "page.html"
    path.write_text(render_page(page), encoding="utf-8")
    tab = open_page(path)
    assert tab.locator(".card.empty-case").count() == 4
    assert tab.locator("#plane .contours path").count() == 0
    assert "No token is in this case" in tab.inner_text("#list")
    assert "weakening" in tab.inner_text("#headline")


def test_the_list_as_a_figure_has_its_texts_and_stays_within_its_sheet(
    open_page: Open, file: Path, page: NeuronPage
) -> None:
    """The same in any theme; a text element a token, values and frames as in the list, nothing beyond the edges."""
    case = next(case for case in page.cases if case.value == "gate-_in+")
    address = f"#case={quote(case.value)}&list=in&color=post"
    pictures = [saved(open_page(file, address, color_scheme=theme), "#list-svg") for theme in ("light", "dark")]
    assert pictures[0] == pictures[1]
    assert pictures[0][0] == "demo-L1-N7.gate-_in+-in.svg"
    root = ElementTree.fromstring(pictures[0][1])
    groups = root.findall(f"{SVG}g")
    places = page.cases[case].extreme[Quantity.IN]
    assert 0 < len(groups) <= len(places)
    told = [group.find(f"{SVG}text").text for group in groups]  # type: ignore[union-attr]
    tab = open_page(file, address)
    assert told == tab.eval_on_selector_all("#list > .example .value", "(all) => all.map((one) => one.textContent)")
    assert all(len(group.findall(f"{SVG}rect[@stroke-width='1.3']")) == 1 for group in groups)
    below = [place for place in root.iter(f"{SVG}path") if place.get("stroke-dasharray")]
    assert below, "what is below 0 has a line as well as a colour"
    name, width, height = root.attrib["viewBox"].split()[0], float(root.attrib["width"]), float(root.attrib["height"])
    assert name == "0"
    for text in root.iter(f"{SVG}text"):
        end = float(text.get("x", 0)) + float(text.get("textLength", 0))
        assert 0 <= float(text.get("x", 0)) <= end <= width
        assert 0 < float(text.get("y", 0)) < height
    assert "var(" not in pictures[0][1].decode()
    kind, picture = saved(tab, "#list-png")
    assert kind == "demo-L1-N7.gate-_in+-in.png"
    assert int.from_bytes(picture[16:20], "big") == 4 * width

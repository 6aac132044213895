"""A neuron in a GLUScope site folder, in the layout that the site has now and in its older one.

What the site's own files would do is played here by scripts of the same names, which say that they were asked.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gluscope.export.site_folder import write_site
from gluscope.page.record import NeuronPage

MODEL = "OLMo-7B-0424"
CDN = "https://unpkg.com/circuitsvis@1.43.3/dist/cdn/esm.js"
DRAWS = """
export const ColoredTokensMulti = "tokens";
export const render = (id, kind, example) => {
  document.getElementById(id).textContent = `${kind} ${example.tokens.length}`;
};
"""
VIZ = """
import { render, ColoredTokensMulti } from "./circuitsvis.js";
for (const place of document.querySelectorAll(".circuit-viz")) {
  place.id = place.dataset.url;
  render(place.id, ColoredTokensMulti, await (await fetch(place.dataset.url)).json());
}
"""
NAV = 'document.getElementById("gs-nav").textContent = location.pathname;'


@pytest.fixture
def visit(browser: Any, tmp_path: Path, page: NeuronPage) -> Any:
    """`visit()`: the exported page as the site serves it, and the addresses that were asked for."""
    write_site(tmp_path, MODEL, [page])
    context = browser.new_context()

    def opened() -> tuple[Any, list[str]]:
        tab, asked = context.new_page(), []

        def answer(route: Any) -> None:
            asked.append(url := route.request.url)
            path = tmp_path / url.removeprefix("https://gluscope.test/")
            if url == CDN:
                headers = {"Access-Control-Allow-Origin": "*"}
                route.fulfill(body=DRAWS, content_type="text/javascript", headers=headers)
            elif path.is_file():
                route.fulfill(path=path, content_type=mimetypes.guess_type(path)[0])
            else:
                route.fulfill(status=404)

        tab.route("**/*", answer)
        tab.goto(f"https://gluscope.test/{MODEL}/{page.id}/vis.html")
        return tab, asked

    yield opened
    context.close()


def test_the_sites_own_files_are_used_where_it_has_them(visit: Callable[[], Any], tmp_path: Path, page: Any) -> None:
    (tmp_path / "assets").mkdir()
    for name, content in (("gluscope-viz.js", VIZ), ("gluscope-nav.js", NAV), ("circuitsvis.js", DRAWS)):
        (tmp_path / "assets" / name).write_text(content)
    (tmp_path / "assets/gluscope.css").write_text("main.gs-container { max-width: 321px } .gs-neuron { margin: 7px }")
    tab, asked = visit()
    tab.wait_for_function("document.querySelector('.circuit-viz').textContent.startsWith('tokens ')")
    tab.wait_for_function("document.getElementById('gs-nav').textContent !== ''")
    assert tab.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "321px"
    assert tab.evaluate("getComputedStyle(document.body).marginLeft") == "7px"
    assert tab.title() == f"{MODEL} · L{page.id.layer} · N{page.id.neuron} · GLUScope"
    assert CDN not in asked


def test_the_older_layout_draws_as_its_pages_did(visit: Callable[[], Any]) -> None:
    tab, asked = visit()
    for name in ("details", "details details", "details details details"):
        tab.locator(name).first.locator("summary").first.click()
    tab.wait_for_function("document.querySelector('.circuit-viz').textContent.startsWith('tokens ')")
    assert CDN in asked
    # Those in closed sections wait.
    assert tab.locator(".circuit-viz").last.text_content() == ""

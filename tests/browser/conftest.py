"""A headless Chromium for all tests here. In CI a missing one is a failure; elsewhere the tests are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from gluscope.page.record import NeuronPage
from gluscope.page.render import render_page
from helpers.pages import make, weights

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Playwright's handle of a running browser."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("CI") != "true":
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_page(file, hash="", **context options)`: the file in a browser tab, ready.

    Afterwards: no error was written to the console, no script ran that was not the page's, nothing was requested but
    files beside the page.
    """
    contexts, complaints, requests = [], [], []

    def opened(file: Path, address: str = "", *, ready: str = "html.ready", **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1366, "height": 768}} | options))
        context.set_default_timeout(300_000)  # ms; a busy machine takes its time
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(file.as_uri() + address)
        tab.wait_for_selector(ready)
        return tab

    yield opened
    for context in contexts:
        for tab in context.pages:
            assert tab.evaluate("window.hacked") is None
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("file://") and not url.startswith("blob:")] == []
    opened.requests = requests  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's script, as axe-playwright-python carries it, with the rule of WCAG 2.2 that it leaves off."""
    script = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    return script + '\n;axe.configure({ rules: [{ id: "target-size", enabled: true }] });'


@pytest.fixture(scope="session")
def page() -> NeuronPage:
    return make(texts=14, length=90, k=6, samples=80).build(weights=weights(41))


@pytest.fixture(scope="session")
def file(page: NeuronPage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site") / "L1" / "N7.html"
    path.parent.mkdir()
    path.write_text(render_page(page), encoding="utf-8", newline="\n")
    return path

"""What a click costs on the live site: a page that is made in the warm process, and shown by Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from gluscope.browse.maker import PageMaker
from gluscope.browse.served import Served
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import DatasetPaths, RunPaths

from benchmark.madeup import DATA, RUN, MadeUp
from benchmark.pages import SCRIPTS
from benchmark.timing import Spread

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_SERVER = """
import json, sys
given = json.loads(sys.argv[1])
sys.path.insert(0, given.pop("scripts"))
from gluscope.browse.maker import PageMaker
from gluscope.browse.served import Served
from gluscope.browse.server import Place, listen, serve
place = Place(port=0)
with listen(place) as server:
    maker = PageMaker(Served(**given))
    maker.warm()
    serve(maker, None, server, place, lambda text: print(text, flush=True))
"""
# When the page is on the screen: a task after the frame that shows it.
_READABLE = """
document.addEventListener("neuron-ready", () => requestAnimationFrame(() => setTimeout(() => {
  const [way] = performance.getEntriesByType("navigation");
  window.clickTimes = { readable: performance.now(), made: way.responseStart - way.requestStart };
})));
"""


@dataclass(frozen=True)
class Clicks:
    """Clicks on neurons that have no page. made: seconds in the warm process. readable: from the click until the page
    is on the screen, in Chromium; None where there is none. texts, tokens: that a page shows, median.
    """

    made_up: MadeUp
    count: int
    texts: int
    tokens: int
    made: Spread
    readable: Spread | None


def clicks(made_up: MadeUp, repeats: int) -> Clicks:
    """Each neuron of the made-up run, `repeats` times, its files in memory."""
    made, texts, tokens = [], [], []
    with chdir(made_up.folder):
        maker = PageMaker(Served(**_served(made_up)))
        maker.warm()
        for neuron in _neurons(made_up, repeats):
            start = time.perf_counter()
            page = maker.make(neuron)
            made.append(time.perf_counter() - start)
            assert page.values is not None
            texts.append(len(page.values.rows))
            tokens.append(int(page.values.lengths.sum()))
    readable = [seconds for seconds, _ in _in_chromium(made_up, repeats)]
    return Clicks(
        made_up, len(made), int(Spread.of(texts).median), int(Spread.of(tokens).median), Spread.of(made),
        Spread.of(readable) if readable else None,
    )  # fmt: skip


def _in_chromium(made_up: MadeUp, repeats: int) -> Iterator[tuple[float, float]]:
    """Seconds from click to readable page, and of them until the page's first byte; nothing without Chromium."""
    chromium = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if chromium is None or find_spec("playwright") is None:
        return
    from playwright.sync_api import sync_playwright

    with _serving(made_up) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(bypass_csp=True)
        tab.add_init_script(_READABLE)
        origin, _, token = address.partition("/?")
        tab.goto(f"{origin}/live/live.css?{token}")
        last = list(_neurons(made_up, 1))[-1]
        tab.goto(f"{origin}/site/{last}.html")  # what a reader clicks on is a page that is open
        _forget_page(made_up, last)
        for neuron in _neurons(made_up, repeats):
            tab.wait_for_function("window.clickTimes")
            _as_link(tab, f"{origin}/site/{neuron}.html")
            tab.click("#all")
            tab.wait_for_url(f"**/{neuron}.html")
            found = tab.wait_for_function("window.clickTimes").json_value()
            yield found["readable"] / 1000, found["made"] / 1000
            _forget_page(made_up, neuron)
        browser.close()


def _as_link(tab: Any, url: str) -> None:
    tab.evaluate("(url) => { document.getElementById('all').href = url; }", url)


def _neurons(made_up: MadeUp, repeats: int) -> Iterator[NeuronId]:
    for _ in range(repeats):
        for number in range(made_up.neurons):
            yield NeuronId(0, number)


def _forget_page(made_up: MadeUp, neuron: NeuronId) -> None:
    """Remove the files of a page once they are written, so that the next click makes it anew."""
    files = [made_up.folder / path for path in (RunPaths(RUN).neuron(neuron), RunPaths(RUN).page(neuron))]
    for _ in range(1000):
        if all(file.exists() for file in files):
            break
        time.sleep(0.01)
    for file in files:
        file.unlink()


@contextmanager
def _serving(made_up: MadeUp) -> Iterator[str]:
    """A server process of the made-up run; its address, with the token."""
    given = json.dumps(_served(made_up) | {"scripts": str(SCRIPTS)})
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, given], cwd=made_up.folder, text=True, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield next(line.strip() for line in process.stdout if "token=" in line)
    finally:
        process.terminate()
        process.wait()


def _served(made_up: MadeUp) -> dict[str, Any]:
    """What `Served` takes."""
    run = RunPaths(RUN)
    return {
        "run": RUN, "model": run.model, "tokens": DatasetPaths(DATA).tokens, "summary": run.summary,
        "weights": run.weights, "tokenizer": [], "descriptions": [], "kept": made_up.caches, "source": "cache",
        "device": "cpu", "batch_tokens": 4096, "listed": None, "versions": {},
    }  # fmt: skip

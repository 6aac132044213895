"""The live site in Chromium, against the real server: clicks, own texts, a cut network, a results folder of others."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import HTTPCookieProcessor, Request, build_opener

import numpy as np
import pytest
from gluscope.recompute.types import Recomputed
from helpers.checkout import BIN, REPO, user_environment
from helpers.room import Room
from helpers.tiny_experts import make_experts
from helpers.tiny_models import make, make_tokenizer

TEXT = "the cat sat on the mat and the dog sat by the door ."
WAIT = 60


@dataclass
class Server:
    """A running `scripts/browse.py`. url: with the token, as it printed it."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return next(line.strip() for line in self.said if "token=" in line)

    @property
    def origin(self) -> str:
        return self.url.partition("/?")[0]

    def end(self) -> str:
        """Ctrl-C; what it says then."""
        self.process.send_signal(signal.SIGINT)
        rest, _ = self.process.communicate(timeout=WAIT)
        return rest


@contextmanager
def running(folder: Path, *arguments: str, within: Sequence[str] = ()) -> Iterator[Server]:
    """within: a command that runs another one."""
    command = [*within, str(BIN / "python"), str(REPO / "scripts/browse.py"), *arguments, "--port", "0"]
    process = subprocess.Popen(
        command, cwd=folder, env=user_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )  # fmt: skip
    server = Server(process)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            server.said.append(line)
            if "ssh -N" in line:
                break
        assert any("token=" in line for line in server.said), "".join(server.said)
        yield server
    finally:
        if process.poll() is None:
            server.end()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    """A small run that Snakemake has made, with two pages."""
    room = Room(tmp_path_factory.mktemp("live"))
    make(folder=room.folder / "my-model")
    room.write_texts()
    room.write_config(k=2)  # of seven texts, so that lists are full
    done = room.snakemake("results/mine/site/index.html")
    assert done.returncode == 0, done.stdout + done.stderr
    return room


@pytest.fixture(scope="module")
def server(room: Room) -> Iterator[Server]:
    with running(room.folder, "mine", "--model", "--configfile", "mine.yaml") as found:
        yield found


@pytest.fixture
def open_live(browser: Any) -> Iterator[Callable[..., Any]]:
    """`open_live(server, path="", ready=...)`: a tab. Afterwards: no complaint, and all requests went to the server."""
    contexts, complaints, requests = [], [], []

    def opened(server: Server, path: str = "", *, ready: str = "html.ready", **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1366, "height": 768}} | options))
        contexts.append(context)
        tab = context.new_page()
        tab.goto(server.url)
        tab.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        tab.on("request", lambda request: requests.append((server.origin, request.url)))
        if path:
            tab.goto(server.origin + path)
        tab.wait_for_selector(ready, timeout=30_000)
        return tab

    opened.complaints = complaints  # type: ignore[attr-defined]
    yield opened
    for context in contexts:
        for tab in context.pages:
            assert tab.evaluate("window.hacked") is None
        context.close()
    assert complaints == []
    assert [url for origin, url in requests if not url.startswith((f"{origin}/", "blob:", "data:"))] == []


def test_a_row_of_the_finder_opens_a_page_that_snakemake_takes_for_its_own(
    room: Room, server: Server, open_live: Callable[..., Any]
) -> None:
    tab = open_live(server, ready="html.finder-ready")
    link = tab.locator('#finder-table a[href="L0/N5.html"]')
    target = room.folder / "results/mine/site/L0/N5.html"
    assert not target.exists()
    tab.locator("#finder-more").click() if not link.count() else None
    link.click()
    tab.wait_for_selector("html.ready")
    assert tab.evaluate("[window.neuron.layer, window.neuron.neuron]") == [0, 5]
    for _ in range(100):
        if target.exists():
            break
        time.sleep(0.05)
    assert room.plan("results/mine/site/L0/N5.html") == {}
    tab.go_back()
    tab.wait_for_selector("html.ready")
    tab.reload()
    tab.wait_for_selector("html.ready")
    assert tab.locator('#pages a[href="L0/N5.html"]').count() == 1
    assert b"gluscopeLive = {" not in target.read_bytes()


def test_what_snakemake_makes_itself_is_the_same_page(
    room: Room, server: Server, open_live: Callable[..., Any]
) -> None:
    page, values = (room.folder / f"results/mine/{name}" for name in ("site/L0/N6.html", "neurons/L0/N6.npz"))
    open_live(server, "/site/L0/N6.html")
    for _ in range(100):
        if page.exists():
            break
        time.sleep(0.05)
    ours = page.read_bytes(), values.read_bytes()
    page.unlink()
    values.unlink()
    done = room.snakemake("results/mine/site/L0/N6.html")
    assert done.returncode == 0, done.stderr
    assert (page.read_bytes(), values.read_bytes()) == ours


def test_a_page_that_snakemake_made_and_the_server_made_anew_is_up_to_date(room: Room, server: Server) -> None:
    """The record of the one that it replaces would say how that was made."""
    page = room.folder / "results/mine/site/L1/N7.html"
    records = {path.name for path in (room.folder / ".snakemake/metadata").iterdir()}
    time.sleep(0.05)
    os.utime(room.folder / "results/mine/weights.zarr/zarr.json")
    web = build_opener(HTTPCookieProcessor())
    before = page.stat().st_mtime_ns
    web.open(server.url, timeout=WAIT).read()
    assert b"gluscopeLive = {" in web.open(f"{server.origin}/site/L1/N7.html", timeout=WAIT).read()
    for _ in range(100):
        if page.stat().st_mtime_ns > before:
            break
        time.sleep(0.05)
    time.sleep(0.3)
    gone = records - {path.name for path in (room.folder / ".snakemake/metadata").iterdir()}
    assert [base64.b64decode(name).decode() for name in gone] == ["results/mine/site/L1/N7.html"], "values do not age"
    assert not {"page", "recompute"} & room.plan("results/mine/site/L1/N7.html").keys()


def test_eight_clicks_at_once(server: Server) -> None:
    def click(_: int) -> bytes:
        web = build_opener(HTTPCookieProcessor())
        web.open(server.url, timeout=WAIT).read()
        return bytes(web.open(f"{server.origin}/site/L1/N20.html", timeout=WAIT).read())

    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(click, range(8)))
    block = re.compile(rb'id="data">([^<]*)<')
    assert len({block.findall(page)[0] for page in pages}) == 1


def test_own_text_shows_the_values_that_the_page_has_of_the_same_text(
    room: Room, server: Server, open_live: Callable[..., Any]
) -> None:
    tab = open_live(server, "/site/L1/N7.html", ready="html.own-ready")
    tab.fill("#own-text", TEXT)
    tab.get_by_role("button", name="What this neuron does").click()
    tab.wait_for_selector(".own .text")
    tokens = tab.locator(".own .text .t")
    rows = tab.locator(".own-values tbody tr")
    assert tokens.count() == rows.count()
    shown = tab.evaluate("Object.values(window.neuron.examples).find((one) => one.tokens.join('').includes('the mat'))")
    cells = rows.evaluate_all("(all) => all.map((row) => [...row.cells].slice(2, 6).map((cell) => cell.textContent))")
    found = np.array([[float(cell.replace("−", "-").replace("–", "nan")) for cell in row] for row in cells])
    for at, quantity in enumerate(("gate", "in", "act", "post")):
        np.testing.assert_allclose(found[:, at], np.array(shown[quantity], float), rtol=0.02, atol=2e-3)
    counted = int(np.isfinite(found[:, 0]).sum())
    assert tab.locator("#own-dots path").count() == counted > 10
    tokens.nth(2).hover()
    assert "post" in tab.locator(".tip").inner_text()
    if tab.locator('[data-set="convention=raw"]').count():
        before = rows.nth(1).inner_text()
        sign = Recomputed.read(room.folder / "results/mine/neurons/L1/N7.npz") is not None and tab.evaluate(
            "window.neuron.sign"
        )
        tab.locator('[data-set="convention=refactored"]').click()
        assert (rows.nth(1).inner_text() == before) == (sign > 0)
        assert tab.locator("#own-dots path").count() == counted


def test_own_text_in_a_mixture_of_experts(tmp_path: Path, open_live: Callable[..., Any]) -> None:
    """Tokens that do not reach the page's expert are plain; the strongest neurons have their expert's name."""
    room = Room(tmp_path)
    make_tokenizer(room.folder / "my-model")
    make_experts("OlmoeForCausalLM", room.folder / "my-model", vocab=320)
    room.write_texts()
    room.write_config(k=2, neurons=["L1/E2/N3"])
    done = room.snakemake("results/mine/site/index.html")
    assert done.returncode == 0, done.stdout + done.stderr
    with running(room.folder, "mine", "--model", "--configfile", "mine.yaml") as server:
        tab = open_live(server, "/site/L1/E2/N3.html", ready="html.own-ready")
        tab.fill("#own-text", TEXT)
        tab.click("text=What this neuron does")
        tab.wait_for_selector(".own .text .t")
        stored = Recomputed.read(room.folder / "results/mine/neurons/L1/E2/N3.npz")
        begin = int((np.cumsum(stored.lengths) - stored.lengths)[stored.rows.tolist().index(0)])
        assert stored.weight is not None
        weight = stored.weight[begin : begin + tab.locator(".own .text .t").count()]
        elsewhere = tab.locator(".own .text .t").evaluate_all("(all) => all.map((t) => t.matches('.elsewhere'))")
        assert elsewhere == np.isnan(weight).tolist()
        assert f"{(~np.isnan(weight)).sum()} of which reach E2" in tab.locator(".own p").first.inner_text()
        tab.click("text=Neurons that answer most strongly")
        tab.wait_for_selector(".own-case td a")
        name = tab.locator(".own-case td a").first.inner_text()
        assert re.fullmatch(r"L\d/E\d/N\d+", name)
        tab.locator(".own-case td a").first.click()
        tab.wait_for_selector("html.own-ready")
        assert tab.url == f"{server.origin}/site/{name}.html"


def test_the_strongest_neurons_lead_to_their_pages(server: Server, open_live: Callable[..., Any]) -> None:
    tab = open_live(server, ready="html.own-ready")
    tab.fill("#own-text", TEXT)
    tab.get_by_role("button", name="Neurons that answer most strongly").click()
    tab.wait_for_selector(".own-case a")
    link = tab.locator(".own-case a").first
    name = link.inner_text()
    link.click()
    tab.wait_for_selector("html.own-ready")
    assert tab.evaluate("`L${window.neuron.layer}/N${window.neuron.neuron}`") == name
    assert tab.input_value("#own-text") == TEXT


def test_hostile_text_stays_text(server: Server, open_live: Callable[..., Any]) -> None:
    tab = open_live(server, "/site/L0/N3.html", ready="html.own-ready")
    tab.fill("#own-text", "<img src=x onerror='window.hacked=1'><script>window.hacked=2</script> \u202ethgir")
    tab.get_by_role("button", name="What this neuron does").click()
    tab.wait_for_selector(".own .text")
    assert tab.locator(".own img, .own script").count() == 0


def test_with_the_network_cut_the_page_goes_on_and_the_box_says_so(
    server: Server, open_live: Callable[..., Any]
) -> None:
    tab = open_live(server, "/site/L1/N7.html", ready="html.own-ready")
    tab.context.set_offline(True)
    tab.fill("#own-text", TEXT)
    tab.get_by_role("button", name="What this neuron does").click()
    tab.get_by_text("The server does not answer").wait_for()
    tab.locator('[data-set="color=gate"]').click()
    assert tab.locator('[data-set="color=gate"]').get_attribute("aria-pressed") == "true"
    open_live.complaints[:] = [one for one in open_live.complaints if "ERR_INTERNET_DISCONNECTED" not in one]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/site/L1/N7.html", "/site/index.html"])
def test_axe_finds_nothing_in_the_box(server: Server, open_live: Callable[..., Any], axe: str, path: str) -> None:
    tab = open_live(server, path, ready="html.own-ready", bypass_csp=True)
    tab.fill("#own-text", TEXT)
    tab.get_by_role("button", name="Neurons that answer most strongly").click()
    tab.wait_for_selector(".own-case a")
    tab.evaluate(axe)
    found = tab.evaluate(
        "axe.run('.own').then((result) => result.violations.map((one) => `${one.id}: ${one.nodes[0].html}`))"
    )
    assert found == []
    tab.set_viewport_size({"width": 360, "height": 740})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_files_go_on_without_a_server(room: Room, browser: Any) -> None:
    tab = browser.new_page()
    tab.goto((room.folder / "results/mine/site/L1/N7.html").as_uri())
    tab.wait_for_selector("html.ready")
    assert tab.locator("#own-text").count() == 0
    tab.goto((room.folder / "results/mine/site/index.html").as_uri())
    tab.wait_for_selector("html.finder-ready")
    assert tab.locator("#own-text").count() == 0
    tab.close()


def test_without_the_token_a_line_says_where_to_look(server: Server, browser: Any) -> None:
    tab = browser.new_page()
    answer = tab.goto(f"{server.origin}/site/index.html")
    assert answer.status == 403
    assert "Open the address that the server printed" in tab.inner_text("main")
    tab.close()


def read_only(folder: Path) -> list[str]:
    """A command that runs another one where `folder` cannot be written. Root may write anywhere but on such a mount."""
    if os.geteuid() != 0:
        return []
    steps = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd "$0" && exec "$@"'
    within = ["unshare", "--mount", "sh", "-c", steps, str(folder)]
    if subprocess.run([*within, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a mount of its own, or another user than root")
    return within


def test_results_that_cannot_be_written_are_shown(room: Room, tmp_path: Path, open_live: Callable[..., Any]) -> None:
    """As someone else's results are, or those of a snapshot."""
    folder = tmp_path / "room"
    shutil.copytree(room.folder, folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    try:
        with running(folder, "mine", "--configfile", "mine.yaml", within=read_only(folder)) as server:
            tab = open_live(server, "/site/L0/N9.html")
            assert tab.evaluate("window.neuron.neuron") == 9
            tab.goto(f"{server.origin}/site/L0/N10.html")
            tab.wait_for_selector("html.ready")
            tab.reload()
            tab.wait_for_selector("html.ready")
            assert "shown and not kept" in tab.inner_text(".live-note")
            tab.goto(f"{server.origin}/site/index.html")
            tab.wait_for_selector("html.ready")
            assert tab.locator('#pages a[href="L0/N9.html"]').count() == 1
            tab.goto(f"{server.origin}/site/L0/N3.html")
            tab.wait_for_selector("html.ready")
            assert "Pages are shown and not kept" in server.end()
        assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)


def test_torch_is_not_imported_without_a_model(room: Room) -> None:
    with running(room.folder, "mine", "--configfile", "mine.yaml") as server:
        web = build_opener(HTTPCookieProcessor())
        web.open(server.url, timeout=WAIT).read()
        web.open(f"{server.origin}/site/L0/N12.html", timeout=WAIT).read()
        loaded = Path(f"/proc/{server.process.pid}/maps").read_text(encoding="utf-8")
    assert "numpy" in loaded
    assert not re.search(r"/torch/|/transformers/", loaded)


def test_ctrl_c_ends_it_with_nothing_half_written(room: Room) -> None:
    with running(room.folder, "mine", "--configfile", "mine.yaml") as server:
        web = build_opener(HTTPCookieProcessor())
        web.open(server.url, timeout=WAIT).read()
        names = [f"L{layer}/N{neuron}" for layer in (0, 1) for neuron in range(24, 48)]
        body = json.dumps({"neurons": names}).encode()
        asked = Request(f"{server.origin}/make", body, {"content-type": "application/json"})
        web.open(asked, timeout=WAIT).read()
        time.sleep(0.3)
        rest = server.end()
        assert server.process.returncode == 0
    assert rest.splitlines() == ["The server has ended."]
    assert "Traceback" not in rest
    results = room.folder / "results/mine"
    assert not list(results.rglob("*.writing-*"))
    made = [name for name in names if (results / f"site/{name}.html").exists()]
    assert all((results / f"neurons/{name}.npz").exists() for name in made)
    for name in made:
        Recomputed.read(results / f"neurons/{name}.npz")
        assert (results / f"site/{name}.html").read_text(encoding="utf-8").endswith("</html>\n")


def refusal(folder: Path, *arguments: str) -> str:
    """The one line with which it does not start."""
    command = [sys.executable, str(REPO / "scripts/browse.py"), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=user_environment(), capture_output=True, text=True, timeout=WAIT, check=False
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return line


def test_what_cannot_be_served_is_said_in_one_line(room: Room, tmp_path: Path) -> None:
    mine = ("--configfile", "mine.yaml")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refusal(room.folder, "mine", *mine, "--port", str(port))
    assert re.fullmatch(
        rf"error: port {port} of 127\.0\.0\.1: expected a free port, found one that is in use\. "
        r"Next: say --port \d+ \(PORT= with make\), or end what listens there\.", line,
    )  # fmt: skip
    assert refusal(room.folder, "mine", *mine, "--host", "192.0.2.1").startswith(
        "error: port 8765 of 192.0.2.1: expected"
    )
    assert "expected the name of a run, found 'mime'" in refusal(room.folder, "mime", *mine)
    assert "add --configfile" in refusal(room.folder, "mine")
    assert refusal(room.folder, "mine", "--configfile", "no.yaml").startswith("error: no.yaml: expected a config")
    fresh = Room(tmp_path)
    make(folder=tmp_path / "my-model")
    fresh.write_texts()
    fresh.write_config()
    line = refusal(tmp_path, "mine", *mine)
    assert line == (
        "error: results/mine/model.json: expected the results of run mine, found no such file. Next: snakemake "
        "--cores 2 results/mine/site/index.html --configfile mine.yaml, then the same command again."
    )

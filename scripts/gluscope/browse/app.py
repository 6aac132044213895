"""The live site's addresses: the files of a run's site, pages that are made when asked for, and a reader's own text."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection
from concurrent.futures import Future
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from gluscope.browse.guard import Guard
from gluscope.browse.live import HERE, message_page, with_script
from gluscope.browse.pages import LivePages
from gluscope.browse.workshop import Busy, Workshop
from gluscope.core.errors import ConfigError, GluscopeError
from gluscope.core.neuron import NeuronId

MOST_NEURONS = 256  # of one call to have pages made
LONGEST_TEXT = 20_000  # characters
_LONGEST_BODY = 1 << 18  # bytes
_FILE = re.compile(r"[\w-][\w.+-]*(?:/[\w-][\w.+-]*)*\.(?:html|js)", re.ASCII)
_ASSET = re.compile(r"[a-z-]+\.(?:js|css)")


class OwnText(Protocol):
    """What a loaded model does with a text: `own_text.OwnText`, which imports torch."""

    def neuron(self, text: str, neuron: NeuronId) -> dict[str, Any]: ...

    def strongest(self, text: str) -> dict[str, Any]: ...


def make_app(
    pages: LivePages, workshop: Workshop, own: OwnText | None, token: str, hosts: Collection[str]
) -> Starlette:
    """own: what a loaded model does with a text; None for a site without that."""
    live = _Live(pages, workshop, own)
    routes = [
        Route("/", lambda request: RedirectResponse("/site/index.html")),
        Route("/site/{path:path}", live.site),
        Route("/compare/{path:path}", live.compare),
        Route("/live/{name}", live.asset),
        Route("/make", live.make, methods=["POST"]),
        Route("/make", live.waiting, methods=["GET"]),
        Route("/text", live.text, methods=["POST"]),
        Route("/strongest", live.strongest, methods=["POST"]),
    ]
    guard = Middleware(Guard, token=token, hosts=hosts, refusal=_message)
    handlers: dict[Any, Any] = {HTTPException: _on_http_error, GluscopeError: _on_error, Busy: _on_busy}
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers)


class _Live:
    def __init__(self, pages: LivePages, workshop: Workshop, own: OwnText | None) -> None:
        self._pages, self._workshop, self._own = pages, workshop, own
        self._root = Path(pages.served.paths.root)

    async def site(self, request: Request) -> Response:
        path = request.path_params["path"]
        if path in ("", "index.html"):
            return self._shown(await asyncio.to_thread(self._pages.index), "site")
        neuron = _neuron(path.removesuffix(".html")) if path.endswith(".html") else None
        if neuron is None:
            return self._file("site", path)
        there = await asyncio.to_thread(self._pages.there, neuron)
        html, note = (there, "") if there is not None else await asyncio.wrap_future(self._pages.page(neuron))
        return self._shown(html, "page", note=note)

    async def compare(self, request: Request) -> Response:
        return self._file("compare", request.path_params["path"])

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        file = HERE / "assets" / name
        if not _ASSET.fullmatch(name) or not file.is_file():
            raise HTTPException(404)
        return FileResponse(file)

    async def make(self, request: Request) -> Response:
        """POST {"neurons": ["L0/N3", ...]}, at most MOST_NEURONS: have their pages made, one after another.

        Answers at once with {"pages": {"L0/N3": {"url": "/site/L0/N3.html"}, ...}, "waiting": 3}. An address can be
        opened at any time; that page then comes first. GET /make says how many are still to be made, {"waiting": 2}.
        """
        names = (await _body(request)).get("neurons")
        if not isinstance(names, list) or not 0 < len(names) <= MOST_NEURONS:
            raise HTTPException(400, f"neurons: expected a list of 1 to {MOST_NEURONS} names such as L0/N3")
        neurons = [_neuron(name) if isinstance(name, str) else None for name in names]
        if None in neurons:
            raise HTTPException(400, f"neurons: expected names such as L0/N3, found {names[neurons.index(None)]!r:.60}")
        found = {}
        for neuron in filter(None, neurons):
            self._pages.check(neuron)
            self._pages.later(neuron)
            found[str(neuron)] = {"url": f"/site/{neuron}.html"}
        return JSONResponse({"pages": found, "waiting": self._workshop.waiting}, 202)

    async def waiting(self, request: Request) -> Response:
        return JSONResponse({"waiting": self._workshop.waiting})

    async def text(self, request: Request) -> Response:
        """POST {"text": "...", "neuron": "L0/N3"}: gate, in, act and post at each token; see `OwnText.neuron`."""
        body = await _body(request)
        neuron = _neuron(body["neuron"]) if isinstance(body.get("neuron"), str) else None
        if neuron is None:
            raise HTTPException(400, "neuron: expected a name such as L0/N3")
        self._pages.check(neuron)
        own, text = self._own_text(body)
        return await self._answer(("text", text, neuron), lambda: own.neuron(text, neuron))

    async def strongest(self, request: Request) -> Response:
        """POST {"text": "..."}: the neurons that answer most strongly to it; see `OwnText.strongest`."""
        own, text = self._own_text(await _body(request))
        return await self._answer(("strongest", text), lambda: own.strongest(text))

    async def _answer(self, key: tuple[Any, ...], do: Callable[[], dict[str, Any]]) -> Response:
        found: Future[dict[str, Any]] = self._workshop.ask(key, do)
        return JSONResponse(await asyncio.wrap_future(found))

    def _own_text(self, body: dict[str, Any]) -> tuple[OwnText, str]:
        if self._own is None:
            raise HTTPException(404, "no model is loaded: start the server with MODEL=1 (--model)")
        text = body.get("text")
        if not isinstance(text, str) or not text.strip():
            raise HTTPException(400, "text: expected some words")
        if len(text) > LONGEST_TEXT:
            raise HTTPException(413, f"text: expected at most {LONGEST_TEXT:,} characters, found {len(text):,}")
        return self._own, text.encode("utf-8", "replace").decode()

    def _shown(self, html: bytes, kind: str, **more: Any) -> Response:
        own = None if self._own is None else {"text": "/text", "strongest": "/strongest", "longest": LONGEST_TEXT}
        return HTMLResponse(with_script(html, kind, {"make": "/make", "own": own, **more}))

    def _file(self, folder: str, path: str) -> Response:
        root = (self._root / folder).resolve()
        file = root / path
        if not _FILE.fullmatch(path) or not file.is_file() or not file.resolve().is_relative_to(root):
            raise HTTPException(404)
        return FileResponse(file)


def _neuron(text: str) -> NeuronId | None:
    try:
        return NeuronId.parse(text)
    except ValueError:
        return None


async def _body(request: Request) -> dict[str, Any]:
    """A JSON object of a bounded size. Its type keeps forms of other sites out."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "expected application/json")
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > _LONGEST_BODY:
            raise HTTPException(413, f"expected at most {_LONGEST_BODY:,} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(400, "expected a JSON object")
    return found


def _message(status: int, line: str) -> Response:
    return HTMLResponse(message_page(HTTPStatus(status).phrase, line), status)


def _refused(request: Request, status: int, line: str) -> Response:
    """As a page where a page was asked for, as JSON where a script asked."""
    if request.method == "POST" or request.url.path == "/make":
        return JSONResponse({"error": line}, status)
    return _message(status, line)


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    lines = {404: "There is no such page in this site.", 405: "This address is not for that."}
    own = error.detail if error.detail != HTTPStatus(error.status_code).phrase else ""
    return _refused(request, error.status_code, own or lines.get(error.status_code, error.detail))


def _on_error(request: Request, error: Exception) -> Response:
    return _refused(request, 404 if isinstance(error, ConfigError) else 409, str(error))


def _on_busy(request: Request, error: Exception) -> Response:
    answer = _refused(request, 503, "The server has as much to do as it takes on. Try again in a moment.")
    answer.headers["Retry-After"] = "5"
    return answer

"""Who may ask: whoever has the address with the token that the server printed, from the site's own pages.

A login node has other users, and a browser has other tabs. So a request needs the token, once in the address and then
as a cookie; a Host header that names this server, or another site's name could be made to lead here; and, where it
comes from a page, one of this site.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from hashlib import sha256
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    # No other site may load what lies here, not as a script either.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache, private",
}


class Guard:
    """hosts: names and addresses of this server. refusal: makes the answer to who may not, from a status and a line."""

    def __init__(
        self, app: ASGIApp, token: str, hosts: Collection[str], refusal: Callable[[int, str], Response]
    ) -> None:
        self._app, self._token, self._hosts, self._refusal = app, token, hosts, refusal
        # Cookies are one for all ports of a host.
        self.cookie = f"gluscope-{sha256(token.encode()).hexdigest()[:12]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            request, guarded = Request(scope), _with_headers(send)
            answer = self._first_answer(request)
            await (answer or self._app)(scope, receive, guarded)

    def _first_answer(self, request: Request) -> Response | None:
        """What is answered in place of the site; None to whoever may see it."""
        if _host(request.headers.get("host", "")) not in self._hosts:
            return self._refusal(421, "This server is not the one that was asked for.")
        if not _from_here(request):
            return self._refusal(403, "Another site's page asked for this.")
        if TOKEN in request.query_params:
            return self._let_in(request)
        if not self._same(request.cookies.get(self.cookie, "")):
            return self._refusal(403, "Open the address that the server printed when it started, with its token.")
        return None

    def _let_in(self, request: Request) -> Response:
        if not self._same(request.query_params[TOKEN]):
            return self._refusal(403, "The token is another server's. Open the address that this one printed.")
        rest = [(key, value) for key, value in request.query_params.multi_items() if key != TOKEN]
        path = f"/{request.url.path.lstrip('/')}"
        answer = RedirectResponse(f"{path}?{urlencode(rest)}" if rest else path, 303)
        answer.set_cookie(self.cookie, self._token, httponly=True, samesite="lax", path="/")
        return answer

    def _same(self, token: str) -> bool:
        return secrets.compare_digest(token.encode(), self._token.encode())


def _host(header: str) -> str:
    """The name or address in a Host header, without the port: through a tunnel that may be another one."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _from_here(request: Request) -> bool:
    """Whether no other site's page asks. Following a link to here is allowed, and shows nothing to where it was."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return False
    site = request.headers.get("sec-fetch-site", "same-origin")
    follows = (
        request.headers.get("sec-fetch-mode") == "navigate" and request.headers.get("sec-fetch-dest") == "document"
    )
    return site in ("same-origin", "none") or (follows and request.method == "GET")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending

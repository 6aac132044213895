"""A file of the site as the live server shows it: with a script of the server's own, which the file does without."""

from __future__ import annotations

import re
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gluscope.page.render import ICON, inert_json, visible

HERE = Path(__file__).parent
# The scripts of each kind of page, files in assets/; the style is one for both.
SCRIPTS = {"page": ("note.js", "strongest.js", "own-text.js"), "site": ("strongest.js", "start.js")}
_POLICY = re.compile(rb'(<meta http-equiv="Content-Security-Policy" content=")([^"]*)(">\n)')
_HEAD_BYTES = 4096


def with_script(html: bytes, kind: str, said: dict[str, Any]) -> bytes:
    """A page that knows it is on the live site. kind: "page" or "site". said: `window.gluscopeLive` for its scripts.

    A page lets only what is its own run, by its policy; that is widened to what the server adds, by a number that is
    used once. A file without a policy stays as it is.
    """
    found = _POLICY.search(html[:_HEAD_BYTES])
    if found is None:
        return html
    nonce = secrets.token_urlsafe(16)
    own = f" 'nonce-{nonce}'".encode()
    rules = {rule.split()[0]: rule for rule in found[2].split(b"; ")} | {b"connect-src": b"connect-src 'self'"}
    for name in (b"script-src", b"style-src"):
        rules[name] += own
    policy = b"; ".join(rules.values())
    head = _templates().get_template("head.html.j2")
    added = head.render(nonce=nonce, said=inert_json(said), scripts=SCRIPTS[kind])
    return b"".join([html[: found.start()], found[1], policy, found[3], added.encode(), html[found.end() :]])


def message_page(title: str, line: str) -> str:
    """A page that says something in place of one that cannot be shown."""
    return _templates().get_template("message.html.j2").render(title=title, line=line, icon=ICON)


@cache
def _templates() -> Environment:
    def shown(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        finalize=shown,
    )  # fmt: skip

"""Requests to an OpenAI-compatible server (`/chat/completions`), with patience. Nothing of the key is ever told."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from gluscope.core.errors import GluscopeError
from gluscope.explain.kept import Answer

LONGEST_WAIT = 600.0  # seconds that a server may ask to be left alone
_AGAIN = "run the same command again: answers so far are kept"
_LATER = {408, 409, 425, 429}  # and all from 500 on: the same request can succeed later


class ServerError(GluscopeError):
    """The server gave no answer. The next start goes on from what is kept."""


@dataclass
class Client:
    """address: up to and without `/chat/completions`. key: sent as a bearer token, unless empty. tries: how often a
    request is sent before it is given up. timeout: seconds for one. sleep: waits so many seconds.

    asked: requests sent so far. Many threads may use it.
    """

    address: str
    key: str = field(repr=False, default="")
    timeout: float = 120.0
    tries: int = 6
    sleep: Callable[[float], None] = time.sleep
    asked: int = 0

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.Client(headers=headers, timeout=self.timeout, limits=limits)
        self._lock, self._quiet_until = threading.Lock(), 0.0

    def close(self) -> None:
        self._http.close()

    def answer(self, body: dict[str, Any]) -> Answer:
        """What the model says. Raises ServerError where the server refuses, or is silent `tries` times."""
        for attempt in range(1, self.tries + 1):
            self._wait(0.0)
            with self._lock:
                self.asked += 1
            try:
                reply = self._http.post(f"{self.address.rstrip('/')}/chat/completions", json=body)
            except httpx.TimeoutException:
                found, wait = f"none within {self.timeout:g} s", 0.0
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                found, wait = f"none ({type(error).__name__}: {self._plain(str(error))})", 2.0 ** (attempt - 1)
            else:
                if reply.status_code == 200 and (answer := _answer(reply, body)) is not None:
                    return answer
                found = self._words(reply)
                if reply.status_code != 200 and reply.status_code not in _LATER and reply.status_code < 500:
                    raise ServerError(self.address, "an answer", found, self._step(reply.status_code))
                wait = self._asked_wait(reply, attempt)
            if attempt < self.tries:
                self._wait(wait)
        raise ServerError(self.address, f"an answer in {self.tries} tries", found, f"look at the server, then {_AGAIN}")

    def _asked_wait(self, reply: httpx.Response, attempt: int) -> float:
        """Seconds until the next try. What the server asks for holds for all threads."""
        wait = retry_after(reply.headers.get("Retry-After", ""), time.time())
        if wait is None:
            return min(60.0, 2.0 ** (attempt - 1))
        if wait > LONGEST_WAIT:
            step = f"wait so long, then {_AGAIN}"
            raise ServerError(self.address, f"a pause of at most {LONGEST_WAIT:g} s", f"{wait:.0f} s asked for", step)
        with self._lock:
            self._quiet_until = max(self._quiet_until, time.monotonic() + wait)
        return wait

    def _wait(self, seconds: float) -> None:
        with self._lock:
            quiet = self._quiet_until - time.monotonic()
        if (wait := max(seconds, quiet)) > 0:
            self.sleep(wait)

    def _words(self, reply: httpx.Response) -> str:
        """A reply that is no answer, in a few words."""
        try:
            content = reply.json()
            error = content.get("error", content.get("detail", content))
            text = str(error.get("message", error)) if isinstance(error, dict) else str(error)
        except (ValueError, AttributeError):
            text = reply.text
        text = self._plain(text)
        return f"status {reply.status_code}{f' ({text})' if text else ''}"

    def _plain(self, text: str) -> str:
        """Words of the server on one line, without the key."""
        if self.key:
            text = text.replace(self.key, "[key]")
        return " ".join(text.split())[:200]

    def _step(self, status: int) -> str:
        if status in (401, 403):
            return "check the key in the environment variable that `key_from` of `explain` names"
        if status in (404, 405):
            return "check `address` (it ends in /v1 for most servers) and `model` of `explain`"
        return "correct `explain` in your config file, or see what the server's documentation says"


def retry_after(text: str, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for, given as such or as a date; None where it says nothing."""
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError):
        return None


def _answer(reply: httpx.Response, body: dict[str, Any]) -> Answer | None:
    """The answer in a reply; None where it is not in the protocol's form, which may be a connection's fault."""
    try:
        content = reply.json()
        text = content["choices"][0]["message"].get("content") or ""
        usage = content.get("usage") or {}
        asked, said = usage.get("prompt_tokens"), usage.get("completion_tokens")
        model = content.get("model")
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if not isinstance(text, str):
        return None
    if not (isinstance(asked, int) and isinstance(said, int)):
        asked, said = tokens_about(body["messages"]), -(-len(text) // 3)
    return Answer(text, asked, said, model if isinstance(model, str) else "")


def tokens_about(messages: list[dict[str, str]]) -> int:
    """About how many tokens messages have, on the high side: a third of their bytes, and a few for each message."""
    return sum(len(message["content"].encode()) // 3 + 8 for message in messages)

"""A server of chat completions on this machine: a script says what it answers, and it remembers what it was asked."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gluscope.explain.asker import Asker, Budget
from gluscope.explain.client import Client
from gluscope.explain.kept import Kept


@dataclass(frozen=True)
class Question:
    """What a prompt of ours asks. kind: explain, detect or fuzz. texts: those between the lines. words: the description
    to judge by."""

    kind: str
    texts: list[dict[str, Any]]
    words: str = ""

    @classmethod
    def of(cls, body: dict[str, Any]) -> Question:
        """Read as a model that minds the lines and the JSON would."""
        user = body["messages"][1]["content"]
        fence = re.search(r"^=== [0-9a-f]{16} ===$", user, re.M)
        assert fence, user
        _, inside, _ = user.split(f"\n{fence[0]}\n")
        described = re.search(r"as a JSON string: (.*)$", user, re.M)
        words = json.loads(described[1]) if described else ""
        kind = "explain" if not described else "fuzz" if "marked token" in user else "detect"
        return cls(kind, json.loads(inside), words)


@dataclass(frozen=True)
class Reply:
    """What the server sends. after: seconds before it does. text: of the body, in place of an answer's."""

    answer: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    text: str | None = None
    usage: tuple[int, int] | None = (100, 10)


Script = Callable[[dict[str, Any], int], "Reply | str"]


class Talker:
    """address: with /v1. script: what it answers, from a request's body and its number from 0. bodies, headers: of all
    requests."""

    def __init__(self, script: Script) -> None:
        self.script, self.bodies, self.headers = script, [], []  # type: ignore[var-annotated]
        self._lock, self._gone = threading.Lock(), threading.Event()
        talker = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                talker._serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def questions(self) -> list[Question]:
        return [Question.of(body) for body in self.bodies]

    def close(self) -> None:
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        assert handler.path == "/v1/chat/completions"
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
        reply = self.script(body, number)
        reply = Reply(reply) if isinstance(reply, str) else reply
        self._gone.wait(reply.after)
        message = {"role": "assistant", "content": reply.answer}
        content: dict[str, Any] = {"model": "talker", "choices": [{"message": message, "finish_reason": "stop"}]}
        if reply.usage:
            content["usage"] = {"prompt_tokens": reply.usage[0], "completion_tokens": reply.usage[1]}
        text = (json.dumps(content) if reply.text is None else reply.text).encode()
        try:
            handler.send_response(reply.status)
            for name, value in {"Content-Length": str(len(text)), **reply.headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(text)
        except OSError:  # who asked has gone
            handler.close_connection = True


@contextmanager
def talking(script: Script) -> Iterator[Talker]:
    talker = Talker(script)
    try:
        yield talker
    finally:
        talker.close()


def says(words: str) -> str:
    return json.dumps({"explanation": words})


def judged(question: Question) -> str:
    """Verdicts by keyword: yes where a text has the words, or where the marked token and what is before end in them."""
    answers = {}
    for text in question.texts:
        shown = text["text"] if question.kind == "detect" else text["before"] + text["token"]
        yes = question.words in shown if question.kind == "detect" else shown.rstrip().endswith(question.words)
        answers[text["id"]] = "yes" if yes else "no"
    return json.dumps({"answers": answers})


def verdicts(question: Question, said: Callable[[], str]) -> str:
    """An answer that says `said()` of each text."""
    return json.dumps({"answers": {text["id"]: said() for text in question.texts}})


class Waits(list[float]):
    """A clock that does not wait: the seconds that it was to."""


def asker_of(folder: Path, address: str, budget: Budget | None = None, **of_client: Any) -> tuple[Asker, Waits]:
    """What asks a server for the results in `folder`, and how long it would have waited."""
    waits = Waits()
    client = Client(address, sleep=waits.append, **of_client)
    kept = Kept(folder / "explain/answers.jsonl")
    return Asker(client, kept, "some-model", budget or Budget(1000, 10**6)), waits

"""Every answer that was paid for, kept under the run's results, so that none is paid for twice.

A file of JSON lines, one an answer, each with a checksum: what an interruption cut short is left out when it is read,
and only that is asked again. A line's name is a digest of all that was asked: model, messages, settings, and which try
it was. It has no key, and no address.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gluscope.core.errors import StoreError


@dataclass(frozen=True)
class Answer:
    """text: what the model said. asked, said: tokens of the request and of the answer, as the server counts them.
    model: what the server says that it ran; empty where it does not."""

    text: str
    asked: int
    said: int
    model: str = ""


def name_of(body: dict[str, Any], attempt: int) -> str:
    """The name of a request."""
    return _digest({"body": body, "attempt": attempt})


class Kept:
    """The answers of a run. requests, tokens: how many there are, and what they took. damaged: lines left out.

    Many threads may use it."""

    def __init__(self, path: str | Path) -> None:
        """Raises StoreError where the file cannot be read."""
        self._path, self._lock = Path(path), threading.Lock()
        self._known: dict[str, Answer] = {}
        self.damaged = self.tokens = 0
        try:
            text = self._path.read_bytes() if self._path.exists() else b""
        except OSError as error:
            step = "correct its rights, or move it away; its answers are then paid for again"
            raise StoreError(str(path), "answers kept", type(error).__name__, step) from error
        for line in text.splitlines():
            self._take(line)
        self._ends = not text or text.endswith(b"\n")

    @property
    def requests(self) -> int:
        return len(self._known)

    def get(self, name: str) -> Answer | None:
        return self._known.get(name)

    def add(self, name: str, answer: Answer, body: dict[str, Any]) -> None:
        """Keep an answer; it is on the disk when this returns. body: what was asked, for people who look."""
        content = {"name": name, **asdict(answer), "request": body}
        line = json.dumps({**content, "checksum": _digest(content)}) + "\n"
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write((b"" if self._ends else b"\n") + line.encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            self._ends = True
            self._put(name, answer)

    def _put(self, name: str, answer: Answer) -> None:
        if name not in self._known:
            self._known[name] = answer
            self.tokens += answer.asked + answer.said

    def _take(self, line: bytes) -> None:
        try:
            content = json.loads(line)
            stored = content.pop("checksum")
            if stored != _digest(content):
                raise ValueError("checksum")
            name, _ = content.pop("name"), content.pop("request")
            self._put(name, Answer(**content))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.damaged += 1


@contextmanager
def alone(path: str | Path) -> Iterator[None]:
    """Inside, no other job adds to these answers: the budget is of all of them together, and one waits for another.

    Where a file system has no locks, none is taken.
    """
    lock = Path(f"{path}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]

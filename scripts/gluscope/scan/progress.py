"""How far a scan is: one line that is refreshed on a terminal, now and then a plain line in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

_REFRESH_SECONDS = 0.2
_BAR = 24


class Progress:
    """Counts tokens, not texts: those cost about the same everywhere.

    with Progress(total, "scan 0003") as progress:
        progress.add(tokens)

    On a terminal the line is redrawn at most five times a second. Elsewhere (a log file, a cluster job's output) a
    plain line comes at the start, every `seconds`, every tenth of the way, and at the end. A stream that has a
    method `note` (it writes to a log only) gets the plain lines there as well while it draws on a terminal.
    """

    def __init__(
        self,
        total: int,
        name: str = "scan",
        stream: TextIO | None = None,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """total: tokens to come. stream: standard error if None."""
        self.total, self.name, self.done = total, name, 0
        self._stream = sys.stderr if stream is None else stream
        self._drawn = self._stream.isatty()
        self._note: Callable[[str], object] | None = (
            getattr(self._stream, "note", None) if self._drawn else self._stream.write
        )
        self._seconds, self._clock = seconds, clock
        self._start = self._last_drawn = self._last_noted = clock()
        self._tenth, self._told = 0, -1

    def __enter__(self) -> Progress:
        self._plain()
        if self._drawn:
            self._draw()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        """The last line says how far it came, also after an error."""
        self._plain()
        if self._drawn:
            self._draw("\n")

    def add(self, tokens: int) -> None:
        """So many more tokens are done."""
        self.done += tokens
        now = self._clock()
        tenth = self.done * 10 // self.total if self.total else 10
        if tenth > self._tenth or now - self._last_noted >= self._seconds:
            self._tenth, self._last_noted = tenth, now
            self._plain()
        if self._drawn and now - self._last_drawn >= _REFRESH_SECONDS:
            self._last_drawn = now
            self._draw()

    def line(self) -> str:
        """`scan 0003: 42 %, 8,400 of 20,000 tokens, 1,234 tokens/s, 0:00:07 gone, 0:00:09 left`"""
        gone = self._clock() - self._start
        share = self.done * 100 // self.total if self.total else 100
        rate = self.done / gone if gone > 0 else 0.0
        left = duration((self.total - self.done) / rate) if rate > 0 else "?"
        return (
            f"{self.name}: {share} %, {self.done:,} of {self.total:,} tokens, {rate:,.0f} tokens/s, "
            f"{duration(gone)} gone, {left} left"
        )

    def _plain(self) -> None:
        """A line for the log; not one that it has already."""
        if self._note is not None and self._told != self.done:
            self._told = self.done
            self._note(self.line() + "\n")
            self._stream.flush()

    def _draw(self, end: str = "") -> None:
        filled = self.done * _BAR // self.total if self.total else _BAR
        self._stream.write(f"\r\x1b[K[{'#' * filled}{'.' * (_BAR - filled)}] {self.line()}{end}")
        self._stream.flush()


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:03`."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"

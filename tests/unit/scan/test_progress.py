"""What a scan says of its progress, on a terminal and in a log file."""

from __future__ import annotations

import io
import re

import pytest
from gluscope.scan.progress import Progress, duration


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class NotedTerminal(Terminal):
    def __init__(self) -> None:
        super().__init__()
        self.log = io.StringIO()

    def note(self, text: str) -> None:
        self.log.write(text)


def run(stream: io.StringIO, steps: list[tuple[float, int]], total: int) -> str:
    """Tokens done after so many seconds each; what was written."""
    clock = Clock()
    with Progress(total, "scan 0003", stream, seconds=60.0, clock=clock) as progress:
        for seconds, tokens in steps:
            clock.now += seconds
            progress.add(tokens)
    return stream.getvalue()


def shares(text: str) -> list[int]:
    return [int(share) for share in re.findall(r"(\d+) %", text)]


def test_line_says_tokens_rate_and_time_left() -> None:
    clock = Clock()
    progress = Progress(20_000, "scan 0003", io.StringIO(), clock=clock)
    clock.now += 10
    progress.add(5_000)
    assert progress.line() == ("scan 0003: 25 %, 5,000 of 20,000 tokens, 500 tokens/s, 0:00:10 gone, 0:00:30 left")


def test_log_gets_a_line_at_the_start_every_tenth_and_at_the_end() -> None:
    text = run(io.StringIO(), [(0.01, 10)] * 100, 1000)
    assert shares(text) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert "\r" not in text
    assert "\x1b" not in text
    assert text.endswith("\n")


def test_log_gets_a_line_every_minute_of_a_long_scan() -> None:
    text = run(io.StringIO(), [(7.0, 1)] * 100, 1_000_000)
    gaps = [0, *([9 * 7] * (100 // 9)), 100 * 7 - 9 * 7 * (100 // 9)]
    gone = [int(m) * 60 + int(s) for m, s in re.findall(r"0:(\d\d):(\d\d) gone", text)]
    assert [later - earlier for earlier, later in zip([0, *gone], gone, strict=False)] == gaps


def test_terminal_line_is_redrawn_and_not_too_often() -> None:
    text = run(Terminal(), [(0.01, 10)] * 100, 1000)
    assert text.count("\n") == 1
    assert text.endswith("left\n")
    drawn = text.count("\r")
    assert 4 <= drawn <= 8, "the scan takes a second"
    assert shares(text)[-1] == 100


def test_log_behind_a_terminal_gets_plain_lines() -> None:
    stream = NotedTerminal()
    run(stream, [(0.01, 10)] * 100, 1000)
    assert shares(stream.log.getvalue()) == list(range(0, 101, 10))
    assert "\r" not in stream.log.getvalue()


def test_a_scan_that_is_cut_says_how_far_it_came() -> None:
    stream, clock = io.StringIO(), Clock()

    def cut() -> None:
        with Progress(100, stream=stream, clock=clock) as progress:
            clock.now += 1
            progress.add(4)
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        cut()
    assert shares(stream.getvalue()) == [0, 4]


def test_nothing_to_do_is_done() -> None:
    assert shares(run(io.StringIO(), [], 0)) == [100]


def test_no_time_gone_is_no_division_by_zero() -> None:
    progress = Progress(10, stream=io.StringIO(), clock=Clock())
    progress.add(3)
    assert "? left" in progress.line()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3723, "1:02:03"), (360_000, "100:00:00")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text

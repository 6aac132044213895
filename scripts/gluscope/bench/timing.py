"""Clocks for a machine on which other programs run: what is compared takes turns, and ratios count, not times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        low, median, high = np.quantile(np.asarray(values, float), [0.25, 0.5, 0.75])
        return cls(float(median), float(low), float(high))


def wait_for(device: torch.device) -> None:
    """Until the device has done all that it was given, by an event in its stream."""
    if device.type == "cuda":
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        event.synchronize()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of `work`, from an idle device to an idle device."""
    wait_for(device)
    start = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - start


def in_turn(work: Mapping[str, Callable[[], object]], device: torch.device, first: int = 0) -> dict[str, float]:
    """Seconds of each, one after another; `first` turns the order, so that none always comes after the same."""
    names = list(work)
    names = names[first % len(names) :] + names[: first % len(names)]
    return {name: seconds(work[name], device) for name in names}


def ratios(times: Sequence[Mapping[str, float]], name: str, to: str) -> Spread:
    """Of two things in the same rounds."""
    return Spread.of([one[name] / one[to] for one in times if name in one])


class Spans:
    """Adds up the time of parts of the work: the host's clock for a CPU, events in the stream for a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds: dict[str, float] = {}
        self._open: dict[str, object] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def begin(self, name: str) -> None:
        self._open[name] = self._mark()

    def end(self, name: str) -> None:
        begin, end = self._open.pop(name), self._mark()
        if isinstance(begin, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
            self._events.append((name, begin, end))
        elif isinstance(begin, float) and isinstance(end, float):
            self._seconds[name] = self._seconds.get(name, 0.0) + end - begin

    def end_open(self) -> None:
        """End what an exception has left open."""
        for name in list(self._open):
            self.end(name)

    def take(self) -> dict[str, float]:
        """Seconds of each since the last `take`."""
        for name, begin, end in self._events:
            end.synchronize()
            self._seconds[name] = self._seconds.get(name, 0.0) + begin.elapsed_time(end) / 1000
        found, self._seconds, self._events = self._seconds, {}, []
        return found

    def _mark(self) -> torch.cuda.Event | float:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

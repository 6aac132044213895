"""Clocks for a machine on which other programs run: what is compared takes turns, and ratios count, not times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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


def has_events(device: torch.device) -> bool:
    """Whether the device works on while the host goes ahead, so that marks in its stream tell its time."""
    return device.type == "cuda"


def wait_for(device: torch.device) -> None:
    """Until the device has done all that it was given, by an event in its stream."""
    if has_events(device):
        event = torch.cuda.Event()
        event.record()
        event.synchronize()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of `work`, from an idle device to an idle device: for what takes much longer than a launch does, with
    all that the host has to do for it. `Laps` is for the rest."""
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


Mark = Any  # an event in a GPU's stream, or a time of the host's clock


def _mark(device: torch.device) -> Mark:
    if not has_events(device):
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(begin: Mark, end: Mark) -> float:
    """Seconds; waits for `end`."""
    if isinstance(end, float):
        return end - float(begin)
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000


class Laps:
    """Times pieces of work one by one. On a GPU these are times of the device, and nothing waits in between."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[Mark, Mark]] = []

    def run(self, work: Callable[[], object]) -> None:
        begin = _mark(self._device)
        work()
        self._marks.append((begin, _mark(self._device)))

    def seconds(self) -> list[float]:
        """Of each piece, in their order."""
        return [_between(*marks) for marks in self._marks]


class Spans:
    """Adds up the time of parts of the work: the host's clock for a CPU, events in the stream for a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._open: dict[str, Mark] = {}
        self._marks: list[tuple[str, Mark, Mark]] = []

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def begin(self, name: str) -> None:
        self._open[name] = _mark(self._device)

    def end(self, name: str) -> None:
        self._marks.append((name, self._open.pop(name), _mark(self._device)))

    def end_open(self) -> None:
        """End what an exception has left open."""
        for name in list(self._open):
            self.end(name)

    def take(self) -> dict[str, float]:
        """Seconds of each since the last `take`."""
        found: dict[str, float] = {}
        for name, *marks in self._marks:
            found[name] = found.get(name, 0.0) + _between(*marks)
        self._marks = []
        return found

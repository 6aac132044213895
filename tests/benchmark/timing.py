"""Clocks for a machine on which other programs run: what is compared takes turns, and ratios count, not times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Mark = Any  # an event in a GPU's stream, or a time of the host's clock


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


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of `work`, from an idle device to an idle device, with all that the host has to do for it."""
    _wait_for(device)
    start = time.perf_counter()
    work()
    _wait_for(device)
    return time.perf_counter() - start


def in_turn(work: Mapping[str, Callable[[], object]], device: torch.device, first: int = 0) -> dict[str, float]:
    """Seconds of each, one after another; `first` turns the order, so that none always comes after the same."""
    names = list(work)
    names = names[first % len(names) :] + names[: first % len(names)]
    return {name: seconds(work[name], device) for name in names}


def mark(device: torch.device) -> Mark:
    """Now, for the device. Nothing waits."""
    if not has_events(device):
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def between(begin: Mark, end: Mark) -> float:
    """Seconds; waits for `end`."""
    if isinstance(end, float):
        return end - float(begin)
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def _wait_for(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if has_events(device):
        event = torch.cuda.Event()
        event.record()
        event.synchronize()

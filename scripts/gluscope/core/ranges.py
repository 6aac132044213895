"""Sorted numbers as short text."""

from __future__ import annotations

from collections.abc import Iterable


def as_ranges(neurons: Iterable[int]) -> str:
    """Sorted numbers as short text: `0-255`, `3,7-9`."""
    parts: list[list[int]] = []
    for neuron in neurons:
        if parts and neuron == parts[-1][1] + 1:
            parts[-1][1] = neuron
        else:
            parts.append([neuron, neuron])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def from_ranges(text: str) -> list[int]:
    """The numbers that `as_ranges` wrote."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        found.extend(range(int(low), int(high or low) + 1))
    return found

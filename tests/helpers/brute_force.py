"""The statistics by their definition: loops over tokens in Python, nothing shared with the library but the names."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

CASES = ["gate+_in+", "gate+_in-", "gate-_in+", "gate-_in-"]
QUANTITIES = ["gate", "in", "act", "post"]


def case_of(gate: float, in_: float) -> str | None:
    """The case of a token; None if gate or in is 0."""
    if gate == 0 or in_ == 0:
        return None
    return f"gate{'+' if gate > 0 else '-'}_in{'+' if in_ > 0 else '-'}"


def statistics(texts: Iterable[tuple[int, Mapping[str, np.ndarray]]], k: int) -> dict[str, dict]:
    """Statistics of one neuron. texts: (row, {quantity: [token]}) each.

    {case: {"count": int, "sum": {quantity: float}, "extreme": {quantity: [(value, row, position), ...]}}}
    """
    found: dict[str, dict] = {case: {"count": 0, "terms": {q: [] for q in QUANTITIES}} for case in CASES}
    best: dict[str, dict] = {case: {q: [] for q in QUANTITIES} for case in CASES}
    for row, values in texts:
        reached: dict[tuple[str, str], tuple[float, int]] = {}
        for position in range(len(values["gate"])):
            case = case_of(values["gate"][position], values["in"][position])
            if case is None:
                continue
            found[case]["count"] += 1
            for quantity in QUANTITIES:
                value = float(values[quantity][position])
                found[case]["terms"][quantity].append(value)
                if (case, quantity) not in reached or abs(value) > abs(reached[case, quantity][0]):
                    reached[case, quantity] = (value, position)
        for (case, quantity), (value, position) in reached.items():
            best[case][quantity].append((value, row, position))
    for case in CASES:
        found[case]["sum"] = {q: math.fsum(terms) for q, terms in found[case].pop("terms").items()}
        found[case]["extreme"] = {
            q: sorted(entries, key=lambda entry: (-abs(entry[0]), entry[1]))[:k] for q, entries in best[case].items()
        }
    return found

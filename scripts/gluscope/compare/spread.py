"""Quantiles of very many numbers in little memory."""

from __future__ import annotations

import numpy as np

_STEPS, _LOW, _HIGH = 16, -64, 64  # bins an octave; powers of 2 that have bins


class Spread:
    """How numbers of at least 0 are spread, as counts in bins whose edges grow by 2^(1/16).

    Quantiles are upper edges of bins: never too low, at most 4.5 % too high. Below 2^-64 counts as 0.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((_HIGH - _LOW) * _STEPS + 2, np.int64)
        self.largest = 0.0

    @property
    def count(self) -> int:
        return int(self._counts.sum())

    def add(self, values: np.ndarray) -> None:
        """values: any float array, finite, at least 0."""
        flat = np.asarray(values, np.float64).ravel()
        if flat.size:
            with np.errstate(divide="ignore"):
                bins = np.ceil((np.log2(flat) - _LOW) * _STEPS)
            self._counts += np.bincount(
                np.clip(bins, 0, len(self._counts) - 1).astype(np.int64), minlength=len(self._counts)
            )
            self.largest = max(self.largest, float(flat.max()))

    def quantile(self, share: float) -> float | None:
        """What at least `share` of the numbers do not exceed; None if there are none."""
        if not self.count:
            return None
        place = int(np.searchsorted(np.cumsum(self._counts), share * self.count))
        return 0.0 if place == 0 else min(self.largest, float(2.0 ** (_LOW + place / _STEPS)))

    def as_json(self) -> dict[str, float | int | None]:
        """Count, median, 99 % and largest."""
        known = self.count > 0
        return {
            "count": self.count,
            "median": self.quantile(0.5),
            "p99": self.quantile(0.99),
            "largest": self.largest if known else None,
        }

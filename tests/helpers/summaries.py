"""Made-up statistics for tests of stores and merging."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gluscope.core.cases import CASES, LISTS
from gluscope.core.convention import view
from gluscope.summary.file import SummaryReader
from gluscope.summary.types import LayerSummary, SampleTokens

FIELDS = tuple(LayerSummary.__dataclass_fields__)


def refactor(summary: LayerSummary, sign: np.ndarray) -> LayerSummary:
    """The other view: of raw statistics the refactored one, and back."""
    return view(summary, sign, "raw", "refactored")


def read_attributes(path: str | Path) -> dict[str, Any]:
    return SummaryReader(path).attributes


def read_layer(path: str | Path, layer: int) -> LayerSummary:
    return SummaryReader(path).layer(layer)


def read_layers(path: str | Path) -> Iterator[LayerSummary]:
    return SummaryReader(path).layers()


def read_neuron(path: str | Path, layer: int, neuron: int) -> LayerSummary:
    return SummaryReader(path).neuron(layer, neuron)


def read_sample(path: str | Path) -> SampleTokens:
    return SummaryReader(path).sample()


def read_sign(path: str | Path) -> np.ndarray:
    return SummaryReader(path).sign()


def random_layer(rng: np.random.Generator, neurons: int, k: int, samples: int, rows: range) -> LayerSummary:
    """Statistics as a scan of `rows` could have found them: sorted lists, not all full, signs by case."""
    layer = LayerSummary.empty(neurons, k, samples)
    layer.count[:] = rng.integers(0, 50, layer.count.shape)
    layer.sum[:] = rng.normal(size=layer.sum.shape)
    layer.sample_gate[:] = rng.normal(size=(neurons, samples))
    layer.sample_in[:] = rng.normal(size=(neurons, samples))
    for neuron in range(neurons):
        for case, quantity in LISTS:
            filled = min(int(rng.integers(0, k + 1)), len(rows))
            # Few different values, so that ties happen.
            value = np.sort(rng.integers(1, 6, filled))[::-1].astype(np.float32) / 4
            example = rng.choice(np.array(rows), filled, replace=False) if filled else np.zeros(0, np.int64)
            order = np.lexsort((example, -value))
            place = neuron, case.index, quantity.index, slice(0, filled)
            layer.extreme_value[place] = value[order] * case.sign(quantity)
            layer.extreme_example[place] = example[order]
            layer.extreme_position[place] = rng.integers(0, 100, filled)
    return layer


def random_sample(rng: np.random.Generator, samples: int, rows: range) -> SampleTokens:
    """Tokens sorted by row and position."""
    example = np.sort(rng.choice(np.array(rows), samples)) if samples else np.zeros(0, np.int64)
    return SampleTokens(example.astype(np.int64), np.arange(samples, dtype=np.int32))


def shard_attributes(rows: range, whole: int, k: int, **more: Any) -> dict[str, Any]:
    """As a scan writes them, in short."""
    about = {"model": "m", "dataset_fingerprint": "abc", "dataset_rows": whole, "k": k, "convention": "raw"}
    own = {"shard": "x", "first_row": rows.start, "last_row": rows.stop - 1, "rows": len(rows)}
    return {
        **about,
        **own,
        "tokens": 1000 * len(CASES),
        "device": "cpu",
        "reducer": "numba",
        "versions": {"torch": "2"},
        **more,
    }


def assert_equal(left: LayerSummary, right: LayerSummary) -> None:
    """Every value the same, also the kind of number; NaN equals NaN."""
    for name in FIELDS:
        one, two = getattr(left, name), getattr(right, name)
        assert one.dtype == two.dtype, name
        np.testing.assert_array_equal(one, two, err_msg=name)

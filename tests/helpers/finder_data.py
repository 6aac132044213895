"""Made-up statistics of whole models for the finder, up to full size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gluscope.core.cases import Quantity
from gluscope.page.finder import write_finder
from gluscope.summary.types import LayerSummary
from gluscope.weights.classes import rw_classes
from gluscope.weights.types import LayerWeights
from helpers.pages import Rows, tokenizer

SCANNED = 1_000_000


@dataclass
class Model:
    """What the finder was written from: tokens of each row, statistics and weights by layer."""

    words: tuple[str, ...]
    rows: Rows
    summaries: list[LayerSummary]
    weights: list[LayerWeights]

    def write(self, site: Path, convention: str = "raw") -> dict[str, Any]:
        """Write the finder's data below `site`."""
        layers = zip(self.summaries, self.weights, strict=True)
        return write_finder(
            site, layers, tokens=SCANNED, convention=convention, dataset=self.rows, texts=tokenizer(self.words)
        )


def model(layers: int = 3, neurons: int = 40, words: tuple[str, ...] = (" aren", "don", "</script>", "\n")) -> Model:
    """Random statistics; some neurons have no tokens in some case, one has none at all."""
    rng = np.random.default_rng(5)
    rows = Rows([rng.integers(1, len(words) + 1, 50) for _ in range(30)], [])
    return Model(
        words, rows, [_summary(rng, neurons, i) for i in range(layers)], [_weights(rng, neurons) for _ in range(layers)]
    )


def _summary(rng: np.random.Generator, neurons: int, layer: int) -> LayerSummary:
    summary, post = LayerSummary.empty(neurons, 1), Quantity.POST.index
    summary.count[:] = rng.dirichlet([0.3, 0.2, 4, 4], neurons) * SCANNED
    if layer == 0:
        summary.count[0] = 0
    signs = np.array([1, -1, -0.3, 0.3])
    value = (rng.lognormal(0, 0.6, (neurons, 4)) * signs).astype(np.float32)
    there = summary.count > 0
    summary.extreme_value[:, :, post, 0] = np.where(there, value, np.nan)
    summary.extreme_example[:, :, post, 0] = np.where(there, rng.integers(0, 30, (neurons, 4)), -1)
    summary.extreme_position[:, :, post, 0] = np.where(there, rng.integers(0, 50, (neurons, 4)), -1)
    return summary


def _weights(rng: np.random.Generator, neurons: int) -> LayerWeights:
    cosine = np.clip(rng.normal(0, 0.25, (neurons, 3)) + rng.choice([0, 0, 0.5, -0.4], (neurons, 1)), -1, 1)
    cosine = cosine.astype(np.float32)
    none = np.zeros((neurons, 0))
    return LayerWeights(
        cosine=cosine, norm=rng.lognormal(0, 0.2, (neurons, 3)).astype(np.float32), norm_quantile=none,
        sign=np.where(cosine[:, 2] < 0, -1, 1).astype(np.int8), rw_class=rw_classes(*cosine.T), token_id=none,
        token_score=none, nearest_layer=none, nearest_neuron=none, nearest_cosine=none, nearest_sign=none, chance=none,
    )  # fmt: skip

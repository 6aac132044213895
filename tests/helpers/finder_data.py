"""Made-up statistics of whole models for the finder, up to full size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gluscope.core.cases import LISTS, Quantity
from gluscope.page.finder import write_finder
from gluscope.summary.types import LayerSummary
from gluscope.weights.classes import rw_classes
from gluscope.weights.types import TOKENS, LayerWeights
from helpers.pages import Rows, tokenizer

SCANNED = 1_000_000


@dataclass
class Model:
    """What the finder was written from: tokens of each row, statistics and weights by layer."""

    words: tuple[str, ...]
    rows: Rows
    summaries: list[LayerSummary]
    weights: list[LayerWeights]

    def write(self, site: Path, convention: str = "raw", **more: Any) -> dict[str, Any]:
        """Write the finder's data below `site`. more: of `write_finder`'s arguments."""
        layers = zip(self.summaries, self.weights, strict=True)
        return write_finder(
            site, layers, tokens=SCANNED, convention=convention, dataset=self.rows, texts=tokenizer(self.words), **more
        )


def model(
    layers: int = 3, neurons: int = 40, words: tuple[str, ...] = (" aren", "don", "</script>", "\n"), k: int = 4
) -> Model:
    """Random statistics; some neurons have no tokens in some case, one has none at all, some lists are not full."""
    rng = np.random.default_rng(5)
    rows = Rows([rng.integers(1, len(words) + 1, 50) for _ in range(30)], [])
    summaries = [_summary(rng, neurons, i, k) for i in range(layers)]
    return Model(words, rows, summaries, [_weights(rng, neurons, len(words)) for _ in range(layers)])


def _summary(rng: np.random.Generator, neurons: int, layer: int, k: int) -> LayerSummary:
    summary, post = LayerSummary.empty(neurons, k), Quantity.POST.index
    summary.count[:] = rng.dirichlet([0.3, 0.2, 4, 4], neurons) * SCANNED
    if layer == 0:
        summary.count[0] = 0
    signs = np.array([1, -1, -0.3, 0.3])
    value = (rng.lognormal(0, 0.6, (neurons, 4)) * signs).astype(np.float32)
    there = summary.count > 0
    summary.extreme_value[:, :, post, 0] = np.where(there, value, np.nan)
    for case, quantity in LISTS:
        at = (slice(None), case.index, quantity.index)
        filled = there[:, case.index, None] & (np.arange(k) <= rng.integers(0, 2 * k, (neurons, 1)))
        summary.extreme_example[at] = np.where(filled, rng.integers(0, 30, (neurons, k)), -1)
        summary.extreme_position[at] = np.where(filled, rng.zipf(1.6, (neurons, k)) % 50, -1)
    return summary


def _weights(rng: np.random.Generator, neurons: int, words: int) -> LayerWeights:
    cosine = np.clip(rng.normal(0, 0.25, (neurons, 3)) + rng.choice([0, 0, 0.5, -0.4], (neurons, 1)), -1, 1)
    cosine = cosine.astype(np.float32)
    none = np.zeros((neurons, 0))
    tokens = np.argsort(rng.random((neurons, 3, 2, min(words, 40))), axis=3)[..., :TOKENS] + 1
    return LayerWeights(
        cosine=cosine, norm=rng.lognormal(0, 0.2, (neurons, 3)).astype(np.float32), norm_quantile=none,
        sign=np.where(cosine[:, 2] < 0, -1, 1).astype(np.int8), rw_class=rw_classes(*cosine.T), token_id=tokens,
        token_score=none, nearest_layer=none, nearest_neuron=none, nearest_cosine=none, nearest_sign=none, chance=none,
    )  # fmt: skip

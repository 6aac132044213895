"""A tiny model with a token data set made by its tokenizer, ready to be scanned."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gluscope.core.cases import CASES, QUANTITIES
from gluscope.dataset.build import build
from gluscope.dataset.plan import Plan, make_plan
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.sources import fetch
from gluscope.model.describe import describe
from gluscope.model.spec import ModelSpec
from gluscope.scan.loop import Scanned, run_scan
from gluscope.summary.types import ADDED, LayerSummary
from helpers.brute_scan import collect, copies_in, forward
from helpers.settings import scan_settings, token_settings
from helpers.summaries import read_layer
from helpers.tiny_experts import MIXTURES, make_experts
from helpers.tiny_models import make, make_tokenizer
from helpers.token_rows import all_ids

K = 4
CLOSE = {"rtol": 2e-4, "atol": 2e-5}  # float32 against float64 after two or three blocks
_WORDS = "the cat sat on the mat and dog by door neuron reads token Paris Rome one two é"


@dataclass
class Case:
    """A model, a token data set made with its tokenizer, and the ids of its rows."""

    folder: Path
    spec: ModelSpec
    data: Path
    ids: list[list[int]]
    plan_of: Callable[[int], Plan]

    def scan(
        self, out: Path, name: str = "0000", shards: int = 1, cache: Path | None = None, **settings: Any
    ) -> Scanned:
        settings = {"k": K, "samples": 30, "reducer": "torch", "device": "cpu"} | settings
        return run_scan(self.spec, self.data, self.plan_of(shards), name, scan_settings(**settings), out, cache)


def texts() -> list[str]:
    random = np.random.default_rng(7)
    words = np.array(_WORDS.split())
    made = [" ".join(random.choice(words, size)) for size in random.integers(1, 9, 25)]
    return [*made, made[3], made[3], "a", "b", made[10]]  # the same text twice: ties


def prepare(folder: Path, architecture: str, **how: Any) -> Case:
    if architecture in MIXTURES:
        make_tokenizer(folder / "model")
        model = make_experts(architecture, folder / "model", vocab=320, **how)
    else:
        model = make(architecture, folder / "model", **how)
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts()), encoding="utf-8")
    build(folder / "tokens", fetch(str(source), str(model)), token_settings(max_length=12))
    data = TokenDataset.open(folder / "tokens")
    plan_of = functools.partial(make_plan, data)
    return Case(model, describe(str(model), None), folder / "tokens", all_ids(data), plan_of)


def summaries(case: Case, path: Path) -> list[LayerSummary]:
    return [read_layer(path, layer) for layer in range(case.spec.n_layers)]


def same(left: LayerSummary, right: LayerSummary) -> None:
    """Equal in all but the rounding of sums."""
    for name in LayerSummary.__dataclass_fields__:
        if name != "sum":
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    np.testing.assert_allclose(left.sum, right.sum, rtol=1e-6, atol=1e-6)


def agrees_with(
    case: Case, layers: list[LayerSummary], act: str, left_out: Mapping[int, Collection[int]] | None = None
) -> None:
    """Counts, sums, extremes, rows and positions, against brute force without the positions `left_out`, by row.

    Where two values are closer than float32 tells, either is right.
    """
    assert ADDED == ("count", "sum"), "brute force has to know what is added up over texts"
    done = dict(enumerate(forward(case.folder, case.ids, act)))
    for layer, summary in enumerate(layers):
        for neuron in range(case.spec.d_mlp):
            found = collect(done, layer, neuron, unsure=1e-5, unlisted=copies_in(case.ids), left_out=left_out)
            for c, q in np.ndindex(len(CASES), len(QUANTITIES)):
                assert abs(int(summary.count[neuron, c]) - found[c].count) <= found[c].unsure
                np.testing.assert_allclose(summary.sum[neuron, c, q], found[c].sums[q], **CLOSE)
                if QUANTITIES[q] not in CASES[c].listed:
                    assert np.isnan(summary.extreme_value[neuron, c, q]).all()
                    continue
                _list_agrees(summary, (neuron, c, q), found[c].extremes[q], done, layer)


def _list_agrees(summary: LayerSummary, at: tuple[int, int, int], expected: list, done: dict, layer: int) -> None:
    neuron, _, q = at
    value, row, position = summary.extreme_value[at], summary.extreme_example[at], summary.extreme_position[at]
    filled = min(K, len(expected))
    assert np.isnan(value[filled:]).all()
    assert (row[filled:] == -1).all()
    assert (position[filled:] == -1).all()
    np.testing.assert_allclose(value[:filled], [entry[0] for entry in expected[:filled]], **CLOSE)
    assert len(set(row[:filled])) == filled
    of_row = {entry[1]: entry for entry in expected}
    for i in range(filled):
        np.testing.assert_allclose(of_row[row[i]][0], value[i], **CLOSE)
        there = done[row[i]].values[layer, position[i], neuron, q]
        np.testing.assert_allclose(there, value[i], **CLOSE)
        clear = all(abs(abs(other[0]) - abs(value[i])) > 1e-3 for other in expected if other[1] != row[i])
        if clear:
            assert row[i] == expected[i][1]

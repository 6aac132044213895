"""Made-up statistics of a small model as published activations, in every form in which we read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import torch
from gluscope.core.cases import CASES, QUANTITIES
from gluscope.dataset.record import TokenRecord
from gluscope.export.hf import write_hf
from gluscope.export.published import to_table
from gluscope.model.spec import ModelSpec
from gluscope.summary.file import write_summary
from gluscope.summary.types import LayerSummary
from helpers.settings import token_settings
from helpers.summaries import random_layer, random_sample, refactor

LAYERS, NEURONS, K, ROWS, TOKENS, SAMPLES = 3, 40, 4, 30, 1000, 7
ABOUT: dict[str, Any] = {
    "model": "user/model", "model_revision": "c0ffee", "dataset": "user/texts", "dataset_revision": "beef",
    "dataset_fingerprint": "f" * 64, "act_fn": "silu", "tokens": TOKENS, "rows": ROWS, "k": K, "dtype": "float32",
    "convention": "raw", "versions": {"gluscope": "0.1.0", "torch": "2"},
}  # fmt: skip
SPEC = ModelSpec(
    "user/model", "c0ffee", "", "X", LAYERS, 8, NEURONS, 100, "silu", gate="g", in_="u", out="o", embed="e", unembed="e"
)
RECORD = TokenRecord(
    rows=ROWS, tokens=TOKENS, longest=9, max_id=99, fingerprint="f" * 64, settings=token_settings(),
    source={"id": "user/texts", "revision": "beef"}, tokenizer=None, pretokenised=True, text_column=None,
)  # fmt: skip


def signs() -> np.ndarray:
    """int8 [layer, neuron]."""
    return np.random.default_rng(5).choice([-1, 1], (LAYERS, NEURONS)).astype(np.int8)


def raw_layers(seed: int = 0) -> list[LayerSummary]:
    """What a scan could have found; lists of a case are equally long, and some cases never occur."""
    rng = np.random.default_rng(seed)
    layers = [random_layer(rng, NEURONS, K, SAMPLES, range(ROWS)) for _ in range(LAYERS)]
    for layer in layers:
        for neuron, case in np.ndindex(NEURONS, len(CASES)):
            filled = 0 if neuron == case else int(rng.integers(1, K + 1))
            layer.count[neuron, case] = 0 if neuron == case else rng.integers(filled, 200)
            layer.sum[neuron, case] *= filled > 0
            for quantity in CASES[case].listed:
                at = (neuron, case, quantity.index)
                value, example = rng.integers(1, 6, filled) / 4, rng.choice(ROWS, filled, replace=False)
                order = np.lexsort((example, -value))
                layer.extreme_value[at], layer.extreme_example[at], layer.extreme_position[at] = np.nan, -1, -1
                layer.extreme_value[at][:filled] = value[order] * CASES[case].sign(quantity)
                layer.extreme_example[at][:filled] = example[order]
                layer.extreme_position[at][:filled] = rng.integers(0, 100, filled)
    return layers


def summary(folder: Path, layers: list[LayerSummary], convention: str = "raw") -> Path:
    """A run's summary of these layers (raw) in a convention."""
    sign = signs()
    shown = [refactor(layer, sign[i]) if convention == "refactored" else layer for i, layer in enumerate(layers)]
    sample = random_sample(np.random.default_rng(1), SAMPLES, range(ROWS))
    about = ABOUT | {"convention": convention}
    write_summary(folder, shown, n_layers=LAYERS, sample=sample, attributes=about, sign=sign)
    return folder


def forms(folder: Path, layers: list[LayerSummary]) -> dict[str, Path]:
    """The same statistics in each form, in the refactored convention; `raw` in the raw one."""
    write_hf(folder / "saved", summary(folder / "s.zarr", layers), "demo", lambda _: None)
    saved = datasets.load_from_disk(folder / "saved")
    datasets.DatasetDict({"train": saved}).save_to_disk(folder / "split")
    # Files that end within a layer, with another table beside them, as a hub's snapshot may have.
    (folder / "parquet/data").mkdir(parents=True)
    (folder / "parquet/samples").mkdir()
    table = pq.read_table(_parquet(saved, folder / "whole.parquet"))
    for i, (begin, rows) in enumerate([(0, 50), (50, 1), (51, 69)]):
        pq.write_table(table.slice(begin, rows), folder / f"parquet/data/train-{i:05d}-of-00003.parquet")
    pq.write_table(table.select(["layer", "neuron"]), folder / "parquet/samples/a.parquet")
    sign = signs()
    refactored = as_dict([refactor(layer, sign[i]) for i, layer in enumerate(layers)])
    torch.save(refactored, folder / "summary_refactored.pt")
    (folder / "by-layer").mkdir()
    torch.save(by_layer(refactored), folder / "by-layer/summary_refactored.pt")
    (folder / "raw").mkdir()
    torch.save(as_dict(layers), folder / "raw/summary.pt")
    return {
        "saved": folder / "saved", "split": folder / "split", "file": folder / "whole.parquet",
        "parquet": folder / "parquet", "torch": folder / "summary_refactored.pt", "raw": folder / "raw/summary.pt",
        "by layer": folder / "by-layer/summary_refactored.pt",
    }  # fmt: skip


def _parquet(saved: Any, path: Path) -> Path:
    saved.to_parquet(path, batch_size=17)
    return path


def as_dict(layers: list[LayerSummary]) -> dict[tuple[str, ...], Any]:
    """As the original tool saves it: 0 and any row where a list is not filled, means under "sum", 0 / 0 = NaN."""
    found: dict[tuple[str, ...], Any] = {}
    for case in CASES:
        count = np.stack([layer.count[:, case.index] for layer in layers])
        found[case.value, "freq"] = torch.tensor(count).float() / TOKENS
        for quantity in QUANTITIES:
            total = np.stack([layer.sum[:, case.index, quantity.index] for layer in layers])
            with np.errstate(invalid="ignore"):
                found[case.value, quantity.hook, "sum"] = torch.tensor((total / count).astype(np.float32))
            if quantity in case.listed:
                at = (slice(None), case.index, quantity.index)
                value, example = (
                    np.stack([getattr(layer, name)[at] for layer in layers]).transpose(2, 0, 1)
                    for name in ("extreme_value", "extreme_example")
                )
                value = np.where(example < 0, np.float32(case.sign(quantity) * 0.0), value)
                found[case.value, quantity.hook, "max"] = {
                    "values": torch.tensor(value),
                    "indices": torch.tensor(np.where(example < 0, ROWS - 1, example)),
                }
    return found


def by_layer(whole: dict[tuple[str, ...], Any]) -> dict[tuple[str, ...], Any]:
    """As newer versions of the tool save it: an entry a layer, but for the frequencies."""
    found = {key: tensor for key, tensor in whole.items() if key[-1] == "freq"}
    for (case, hook, statistic), tensor in ((key, tensor) for key, tensor in whole.items() if key[-1] != "freq"):
        for layer in range(LAYERS):
            entry = {part: t[:, layer] for part, t in tensor.items()} if statistic == "max" else tensor[layer]
            found[case, f"blocks.{layer}.{hook}", statistic] = entry
    return found


def tables_of(layers: list[LayerSummary]) -> list[str]:
    """The published tables of raw layers, as text, because a NaN is not equal to itself."""
    sign = signs()
    return [repr(to_table(i, refactor(layer, sign[i]), TOKENS).to_pydict()) for i, layer in enumerate(layers)]

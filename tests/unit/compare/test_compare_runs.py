"""Two runs compared: against brute force, laws, planted changes; float32 against half precision on a tiny model."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gluscope.compare.report import lines
from gluscope.compare.runs import CompareError, Comparison, compare
from gluscope.compare.spread import Spread
from gluscope.core.cases import LISTS, Quantity
from gluscope.core.precision import UNIT_ROUNDOFF, dtype_note
from gluscope.model.describe import describe
from gluscope.summary.file import SummaryReader, write_summary
from gluscope.summary.shards import merge_shards
from gluscope.summary.types import LayerSummary
from gluscope.weights.folded import signs_of
from helpers.scan_case import Case, prepare
from helpers.summaries import random_layer, random_sample
from safetensors.torch import load_file, save_file

LAYERS, NEURONS, K, SAMPLES, ROWS = 2, 5, 4, 30, range(40)
ALL_TEXTS = 32  # a k with which lists hold every text that has the case


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize("seed", range(3))
def test_quantiles_are_never_too_low_and_little_too_high(seed: int) -> None:
    values = np.random.default_rng(seed).lognormal(0, 5, 3000)
    spread = Spread()
    for part in np.array_split(values, 7):
        spread.add(part)
    for share in (0.01, 0.5, 0.99, 1.0):
        exact = np.quantile(values, share, method="inverted_cdf")
        assert exact <= spread.quantile(share) <= exact * 2 ** (1 / 16) * (1 + 1e-12)
    assert (spread.count, spread.largest) == (3000, values.max())


def test_quantiles_of_zeros_and_of_nothing() -> None:
    spread = Spread()
    assert spread.as_json() == {"count": 0, "median": None, "p99": None, "largest": None}
    spread.add(np.zeros(3))
    spread.add(np.array([2.0]))
    assert (spread.quantile(0.5), spread.quantile(1.0)) == (0.0, 2.0)


Write = Callable[..., SummaryReader]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write made-up statistics as a run's summary; `change` edits a layer, `about` the attributes."""
    made = iter(range(20))

    def run(seed: int = 0, change: Callable[[LayerSummary], None] = lambda _: None, **about: Any) -> SummaryReader:
        rng = np.random.default_rng(seed)
        layers = [random_layer(rng, NEURONS, K, SAMPLES, ROWS) for _ in range(LAYERS)]
        change(layers[1])
        attributes = {
            "model": "m", "model_revision": "r", "architecture": "a", "dataset": "d", "dataset_revision": "r",
            "versions": {}, "dataset_fingerprint": "abc", "tokens": 1000, "dtype": "float32", "k": K,
            "convention": "raw",
        }  # fmt: skip
        path = tmp_path / f"{next(made)}.zarr"
        sample = random_sample(np.random.default_rng(5), SAMPLES, ROWS)
        sign = np.ones((LAYERS, NEURONS), np.int8)
        write_summary(path, layers, n_layers=LAYERS, sample=sample, sign=sign, attributes=attributes | about)
        return SummaryReader(path)

    return run


def test_a_run_equals_itself(write: Write) -> None:
    found = compare(write(), write(), quiet)
    assert found.changed_share == 0
    act = Quantity.ACT.index
    rows = [np.delete(write().layer(n).extreme_example, act, axis=2) for n in range(LAYERS)]
    assert found.entries == sum(int((one >= 0).sum()) for one in rows)
    assert all(one.moved.largest == 0 and one.margin.count == one.first_changed == 0 for one in found.lists.values())
    assert found.moved_case.largest == found.signs == found.sample.signs == 0
    assert found.sample.decorrelation["in"].largest < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_lists_against_brute_force(write: Write, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gluscope.compare.lists._PAIRS", 2 * K**2)  # two neurons at a time
    left, right = write(seed), write(seed + 100)
    found = compare(left, right, quiet)
    for case, quantity in LISTS:
        entries = changed = first = 0
        moved, margin = [], []
        for one, two in lists(left, right, case.index, quantity.index):
            rows = {row: float(value) for row, value in two if row >= 0}
            filled = [(row, float(value)) for row, value in one if row >= 0]
            entries += len(filled)
            first += bool(filled) and filled[0][0] != two[0][0]
            for row, value in filled:
                if row in rows:
                    moved.append(abs(rows[row] - value) / abs(value))
                    continue
                changed += 1
                if len(rows) == K:
                    margin.append(max(0.0, 1 - abs(float(two[-1][1])) / abs(value)))
        counted = found.lists[case, quantity]
        assert (counted.entries, counted.changed, counted.first_changed) == (entries, changed, first)
        assert (counted.moved.count, counted.margin.count) == (len(moved), len(margin))
        assert counted.moved.largest == pytest.approx(max(moved, default=0.0), rel=1e-12)
        assert counted.margin.largest == pytest.approx(max(margin, default=0.0), rel=1e-12)


def lists(left: SummaryReader, right: SummaryReader, case: int, quantity: int) -> Iterator[tuple[list, list]]:
    """A list of each neuron in both runs, as pairs of row and value."""
    for layer in range(LAYERS):
        for neuron in range(NEURONS):
            both = [run.neuron(layer, neuron) for run in (left, right)]
            yield tuple(
                list(zip(one.extreme_example[0, case, quantity], one.extreme_value[0, case, quantity], strict=True))
                for one in both
            )


def test_planted_changes_are_found(write: Write) -> None:
    def change(layer: LayerSummary) -> None:
        layer.sample_in[3] *= -1
        layer.count[2] = layer.count[2][[1, 0, 2, 3]]

    before, after = write(), write(change=change)
    found = compare(before, after, quiet)
    assert found.changed_share == 0
    count = before.neuron(1, 2).count[0]
    assert found.moved_case.largest == abs(int(count[0]) - int(count[1])) / 1000
    assert found.sample.signs == (before.layer(1).sample_in[3] != 0).sum()
    assert str(found.most_changed[0].id) == "L1/N3"
    assert found.most_changed[0].correlation == pytest.approx(-1)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["most_changed"][0]["neuron"] == "L1/N3"
    assert "L1/N3" in list(lines(found))[-1]


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"dataset_fingerprint": "xyz"}, "expected tokens abc, found xyz"),
        ({"tokens": 999}, "expected 1000 tokens scanned, found 999"),
    ],
)
def test_other_tokens_are_refused(write: Write, about: dict[str, Any], words: str) -> None:
    with pytest.raises(CompareError, match=words):
        compare(write(), write(**about), quiet)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SummaryReader]:
    """The tiny model's run in a number format, with a k, in a convention."""
    case: Case = prepare(tmp_path_factory.mktemp("compare"), "LlamaForCausalLM", d_mlp=64)
    sign = signs_of(case.spec)

    @functools.cache
    def scan(dtype: str, k: int) -> Path:
        shard = case.folder / f"{dtype}-{k}.zarr.zip"
        case.scan(shard, dtype=dtype, k=k)
        return shard

    @functools.cache
    def run(dtype: str, k: int = ALL_TEXTS, convention: str = "raw") -> SummaryReader:
        path = case.folder / f"{dtype}-{k}-{convention}.zarr"
        merge_shards([scan(dtype, k)], path, sign=sign, convention=convention)
        return SummaryReader(path)

    return run


def test_a_view_is_no_change(scanned: Callable[..., SummaryReader]) -> None:
    """The other convention, and a larger k, show the same run."""
    for other in (scanned("float32", K, "refactored"), scanned("float32")):
        found = compare(scanned("float32", K), other, quiet)
        assert found.changed_share == found.sample.signs == found.moved_case.largest == 0
        assert found.entries > 1000


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_exchanges_only_what_is_about_as_extreme(
    scanned: Callable[..., SummaryReader], dtype: str
) -> None:
    """A text that leaves a list of K was no farther from the list's end than its own value moved."""
    exact, half = scanned("float32"), scanned(dtype)
    left = lost = entries = 0
    for layer in range(exact.n_layers):
        one, two = exact.layer(layer), half.layer(layer)
        for case, quantity in LISTS:
            for neuron in range(one.neurons):
                place = neuron, case.index, quantity.index
                before, after = (dict(zip(w.extreme_example[place], w.extreme_value[place])) for w in (one, two))  # noqa: B905
                kept, least = two.extreme_example[place][:K], abs(two.extreme_value[place][K - 1])
                listed = [row for row in one.extreme_example[place][:K] if row >= 0]
                counted = quantity is not Quantity.ACT
                entries += counted * len(listed)
                for row in set(listed) - set(kept):
                    lost += counted
                    if row in after:  # else no token of it is in the case any more: a sign near 0
                        left += 1
                        assert abs(before[row]) - least <= abs(after[row] - before[row])
    assert left > 0
    assert compare(scanned("float32", K), half, quiet).changed_share == lost / entries


def test_errors_are_of_the_formats_size(scanned: Callable[..., SummaryReader]) -> None:
    """Values move by few units of roundoff, an eighth as far in float16 as in bfloat16; signs change near 0."""
    found: dict[str, Comparison] = {
        dtype: compare(scanned("float32"), scanned(dtype), quiet) for dtype in ("bfloat16", "float16")
    }
    medians = {d: np.median([one.moved.quantile(0.5) for one in f.lists.values()]) for d, f in found.items()}
    assert 1 / 16 < medians["float16"] / medians["bfloat16"] < 1 / 4
    for dtype, one in found.items():
        assert one.unit == UNIT_ROUNDOFF[dtype]
        assert 0.1 < medians[dtype] / one.unit < 10
        assert one.sample.at_sign.largest < 30 * one.unit
    assert found["float16"].changed_share < found["bfloat16"].changed_share < 0.1


def test_the_footer_says_what_half_precision_means() -> None:
    assert dtype_note("float32") == "float32"
    assert dtype_note("bfloat16").startswith("bfloat16: each step of the model rounds to 0.004 of a value")
    assert "\n" not in dtype_note("float16")


def test_runs_that_skip_other_tokens_are_said_to_differ(write: Write) -> None:
    skips = {"skip_tokens": ["bos"], "skipped_ids": [0], "skipped": 40, "tokens": 960}
    none = {"skip_tokens": [], "skipped_ids": [], "skipped": 0}
    found = compare(write(**none), write(**skips), quiet)
    assert found.as_json()["same_tokens_skipped"] is False
    words = "Not the same results: the reference skips [] (0 tokens), the other run ['bos'] (40 tokens)"
    assert words in list(lines(found))
    for alike in (compare(write(**skips), write(**skips), quiet), compare(write(), write(**none), quiet)):
        assert alike.as_json()["same_tokens_skipped"] is True
        assert not any("Not the same" in line for line in lines(alike))
    with pytest.raises(CompareError, match="tokens scanned"):
        compare(write(), write(**(skips | {"skipped": 41})), quiet)


@pytest.fixture(scope="module")
def routed_otherwise(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, SummaryReader, SummaryReader]:
    """A mixture of experts, and the same with noise on the routers' weights."""
    case, runs = prepare(tmp_path_factory.mktemp("experts"), "DeepseekV3ForCausalLM"), []
    for name in ("as it is", "other routers"):
        own = case
        if name != "as it is":
            shutil.copytree(case.folder, folder := case.folder.parent / "other")
            weights = load_file(folder / "model.safetensors")
            generator = torch.Generator().manual_seed(3)
            for key in (key for key in weights if key.endswith("mlp.gate.weight")):
                weights[key] += 0.05 * torch.randn(weights[key].shape, generator=generator)
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
            own = replace(case, folder=folder, spec=describe(str(folder), None))
        own.scan(case.folder.parent / f"{name}.zarr.zip", reducer="numba", samples=200)
        merge_shards(
            [case.folder.parent / f"{name}.zarr.zip"], path := case.folder.parent / name, sign=signs_of(own.spec)
        )
        runs.append(SummaryReader(path))
    return case, runs[0], runs[1]


def test_experts_are_compared_where_tokens_reach_them_in_both(
    routed_otherwise: tuple[Case, SummaryReader, SummaryReader],
) -> None:
    """By loops over neurons and tokens."""
    case, left, right = routed_otherwise
    found = compare(left, right, quiet)
    assert found.sample is not None
    routed = elsewhere = values = 0
    least: dict[str, float] = {}
    for layer, own in enumerate(case.spec.size.layers):
        one, two = left.layer(layer), right.layer(layer)
        for place in range(own.count):
            reach = [~np.isnan(each.sample_gate[place]) for each in (one, two)]
            routed += int(reach[0].sum())
            elsewhere += int((reach[0] & ~reach[1]).sum())
            both = reach[0] & reach[1]
            values += 2 * int(both.sum())
            pairs = [
                (getattr(one, f"sample_{n}")[place][both], getattr(two, f"sample_{n}")[place][both])
                for n in ("gate", "in")
            ]
            if both.sum() > 1 and all(np.ptp(part) > 0 for pair in pairs for part in pair):
                least[str(own.neuron(layer, place))] = min(np.corrcoef(*map(np.float64, pair))[0, 1] for pair in pairs)
    assert 0 < elsewhere < routed / 2
    assert (found.sample.elsewhere, found.sample.routed, found.sample.values) == (elsewhere, routed, values)
    assert found.as_json()["sample"]["routed_elsewhere_share"] == elsewhere / routed
    assert (
        f"experts: sampled tokens miss {100 * elsewhere / routed:.3g} % of what they reach in the reference"
        in "\n".join(lines(found))
    )
    named = {str(one.id): one.correlation for one in found.most_changed}
    for name, correlation in named.items():
        assert correlation == pytest.approx(least[name], abs=1e-6)
    assert min(least.values()) == pytest.approx(min(named.values()), abs=1e-6)
    assert any("/E" in name for name in named)
    assert found.signs == 0
    moved = np.abs(left.layer(2).count - right.layer(2).count).sum(-1).max()
    assert moved / 2 / left.provenance.tokens <= found.moved_case.largest <= moved / left.provenance.tokens


def test_experts_that_changed_nothing_and_models_of_other_experts(
    routed_otherwise: tuple[Case, SummaryReader, SummaryReader], tmp_path: Path
) -> None:
    _, left, _ = routed_otherwise
    found = compare(left, left, quiet)
    assert found.changed_share == found.sample.signs == found.sample.elsewhere == found.moved_case.largest == 0
    other = prepare(tmp_path, "Glm4MoeForCausalLM")
    other.scan(tmp_path / "0000.zarr.zip", reducer="numba")
    merge_shards([tmp_path / "0000.zarr.zip"], tmp_path / "summary", sign=signs_of(other.spec))
    with pytest.raises(CompareError, match=r"a mixture of layers .*shared \[32\].*, found .*shared \[16\]"):
        compare(left, SummaryReader(tmp_path / "summary"), quiet)

"""The scan against a float64 forward pass and loops over tokens, and its laws: no cut of the work changes a result."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gluscope.cache.reader import CacheReader
from gluscope.core.cases import CASES
from gluscope.dataset.plan import Plan
from gluscope.dataset.reader import TokenDataset
from gluscope.model.describe import describe
from gluscope.scan import loop
from gluscope.scan.batches import processing_order
from gluscope.scan.loop import run_scan
from gluscope.scan.sample import choose_sample
from helpers.brute_scan import case_of, collect, copies_in, forward
from helpers.merging import merge
from helpers.scan_case import Case, agrees_with, prepare, same, summaries
from helpers.settings import scan_settings
from helpers.summaries import read_attributes, read_layer, read_sample


@pytest.fixture(scope="module")
def olmo(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return prepare(tmp_path_factory.mktemp("olmo"), "OlmoForCausalLM", n_layers=2, d_model=16, n_heads=2, d_mlp=10)


@pytest.mark.parametrize(
    ("architecture", "act"),
    [("LlamaForCausalLM", "silu"), ("Gemma2ForCausalLM", "gelu_pytorch_tanh"), ("Phi3ForCausalLM", "silu")],
)
def test_agrees_with(tmp_path: Path, architecture: str, act: str) -> None:
    case = prepare(tmp_path, architecture, n_layers=2, d_model=16, n_heads=2, d_mlp=10)
    case.scan(tmp_path / "out.zarr.zip", batch_tokens=40)
    agrees_with(case, summaries(case, tmp_path / "out.zarr.zip"), act)


def test_numba_agrees_with_brute_force_and_exactly_with_torch(tmp_path: Path, olmo: Case) -> None:
    for kind in ("numba", "torch"):
        olmo.scan(tmp_path / f"{kind}.zarr.zip", reducer=kind)
    numba, reference = (summaries(olmo, tmp_path / f"{kind}.zarr.zip") for kind in ("numba", "torch"))
    for left, right in zip(numba, reference, strict=True):
        same(left, right)
    agrees_with(olmo, numba, "silu")


def test_every_token_is_counted_once(tmp_path: Path, olmo: Case) -> None:
    done = olmo.scan(tmp_path / "out.zarr.zip")
    assert (done.rows, done.tokens) == (len(olmo.ids), sum(map(len, olmo.ids)))
    for summary in summaries(olmo, tmp_path / "out.zarr.zip"):
        assert (summary.count.sum(1) == done.tokens).all()


@pytest.mark.parametrize("shards", [1, 5])
def test_shards_merged_are_the_whole(tmp_path: Path, olmo: Case, shards: int) -> None:
    """Every text alone, so that no forward pass differs in the last bits; then nothing else may."""
    olmo.scan(tmp_path / "whole.zarr.zip", batch_tokens=1)
    plan: Plan = olmo.plan_of(shards)
    paths = [tmp_path / f"{shard.name}.zarr.zip" for shard in plan.shards]
    for shard, path in zip(plan.shards, paths, strict=True):
        assert olmo.scan(path, shard.name, shards, batch_tokens=1).rows == shard.rows
    for layer, whole in enumerate(summaries(olmo, tmp_path / "whole.zarr.zip")):
        same(functools.reduce(merge, (read_layer(path, layer) for path in paths)), whole)
    samples = [read_sample(path) for path in paths]
    whole_sample = read_sample(tmp_path / "whole.zarr.zip")
    assert np.concatenate([sample.example for sample in samples]).tolist() == whole_sample.example.tolist()
    assert np.concatenate([sample.position for sample in samples]).tolist() == whole_sample.position.tolist()


@pytest.mark.parametrize(("budget", "padding"), [(7, 0.0), (40, 0.0), (10_000, 0.0), (40, 0.6), (10_000, 0.9)])
def test_batches_do_not_matter(
    tmp_path: Path, olmo: Case, budget: int, padding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loop.PADDING, "cpu", padding)
    olmo.scan(tmp_path / "out.zarr.zip", cache=tmp_path / "cache", batch_tokens=budget)
    agrees_with(olmo, summaries(olmo, tmp_path / "out.zarr.zip"), "silu")
    cache_agrees(olmo, tmp_path / "cache")


def cache_agrees(case: Case, path: Path, rtol: float = 1e-3, atol: float = 1e-3) -> None:
    done = forward(case.folder, case.ids)
    with CacheReader(path) as cache:
        assert sorted(cache.rows) == list(range(len(case.ids)))
        for layer, row in np.ndindex(case.spec.n_layers, len(case.ids)):
            np.testing.assert_allclose(cache.read(layer, row), done[row].x[layer], rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_cache_holds_x_of_every_token(tmp_path: Path, olmo: Case, dtype: str) -> None:
    olmo.scan(tmp_path / "out.zarr.zip", cache=tmp_path / "cache", cache_dtype=dtype)
    cache_agrees(olmo, tmp_path / "cache", rtol=1e-3 if dtype == "float16" else 8e-3)
    with CacheReader(tmp_path / "cache") as cache:
        order = processing_order(
            np.array([len(ids) for ids in olmo.ids]),
            np.isin(np.arange(len(olmo.ids)), list(copies_in(olmo.ids))),
        )
        assert cache.rows.tolist() == order.tolist()
        assert cache.lengths.tolist() == [len(olmo.ids[row]) for row in order]
        assert cache.attributes["cache_dtype"] == dtype
        assert cache.attributes["model_revision"] == olmo.spec.revision


def test_cache_of_a_shard_names_rows_of_the_data_set(tmp_path: Path, olmo: Case) -> None:
    olmo.scan(tmp_path / "out.zarr.zip", "0002", 4, cache=tmp_path / "cache")
    shard = olmo.plan_of(4).shard("0002")
    done = forward(olmo.folder, olmo.ids)
    with CacheReader(tmp_path / "cache") as cache:
        assert sorted(cache.rows) == list(range(shard.start, shard.stop))
        for row in cache.rows:
            np.testing.assert_allclose(cache.read(1, row), done[row].x[1], rtol=1e-3, atol=1e-3)


def test_cache_changes_no_statistic(tmp_path: Path, olmo: Case) -> None:
    olmo.scan(tmp_path / "with.zarr.zip", cache=tmp_path / "cache")
    olmo.scan(tmp_path / "without.zarr.zip")
    pairs = (summaries(olmo, tmp_path / f"{name}.zarr.zip") for name in ("with", "without"))
    for left, right in zip(*pairs, strict=True):
        same(left, right)
        np.testing.assert_array_equal(left.sum, right.sum)


def test_sample_holds_the_values_at_its_tokens(tmp_path: Path, olmo: Case) -> None:
    olmo.scan(tmp_path / "out.zarr.zip", samples=30, seed=3)
    sample = read_sample(tmp_path / "out.zarr.zip")
    chosen = choose_sample(3, np.array([len(ids) for ids in olmo.ids]), 30)
    assert (sample.example.tolist(), sample.position.tolist()) == (chosen.example.tolist(), chosen.position.tolist())
    done = forward(olmo.folder, olmo.ids)
    for layer, summary in enumerate(summaries(olmo, tmp_path / "out.zarr.zip")):
        values = np.stack(
            [done[row].values[layer, at] for row, at in zip(sample.example, sample.position, strict=True)], axis=1
        )
        np.testing.assert_allclose(summary.sample_gate, values[..., 0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(summary.sample_in, values[..., 1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("samples", [0, 10_000])
def test_sample_of_nothing_and_of_everything(tmp_path: Path, olmo: Case, samples: int) -> None:
    olmo.scan(tmp_path / "out.zarr.zip", samples=samples)
    expected = min(samples, sum(map(len, olmo.ids)))
    assert len(read_sample(tmp_path / "out.zarr.zip").example) == expected
    assert summaries(olmo, tmp_path / "out.zarr.zip")[1].sample_in.shape == (olmo.spec.d_mlp, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs_agree_roughly(tmp_path: Path, olmo: Case, dtype: str) -> None:
    olmo.scan(tmp_path / "out.zarr.zip", dtype=dtype, cache=tmp_path / "cache", cache_dtype=dtype)
    done = forward(olmo.folder, olmo.ids)
    tokens = sum(map(len, olmo.ids))
    for layer, summary in enumerate(summaries(olmo, tmp_path / "out.zarr.zip")):
        # Some hundredths of the tokens may change case; a value is known to three or two digits.
        exact = np.concatenate([text.values[layer] for text in done])
        assert abs(summary.count.sum(1) - tokens).max() <= 2
        np.testing.assert_allclose(summary.sum.sum(1), exact.sum(0), atol=0.03 * tokens * np.abs(exact).mean())
    assert read_attributes(tmp_path / "out.zarr.zip")["dtype"] == dtype
    # Numbers of about 1 are rounded some times on the way to x, so its error is absolute.
    few_roundings = 8 * torch.finfo(getattr(torch, dtype)).eps
    cache_agrees(olmo, tmp_path / "cache", rtol=few_roundings, atol=few_roundings)


def test_planted_neurons_show_their_tokens(tmp_path: Path) -> None:
    """w_gate and w_in of some neurons point at a token's own x, so that this token is at the top."""
    case = prepare(tmp_path, "OlmoForCausalLM", n_layers=2, d_model=32, d_mlp=12)
    done = forward(case.folder, case.ids)
    tokens = [token for ids in case.ids for token in ids]
    rare = sorted({token for token in tokens if 3 <= tokens.count(token) <= 10})[:3]
    assert len(rare) == 3
    weights_file = case.folder / "model.safetensors"
    from safetensors.torch import load_file, save_file

    weights = load_file(weights_file)
    xs = np.concatenate([text.x[0] for text in done])
    centre = xs.mean(0)
    for neuron, token in enumerate(rare):
        direction = xs[np.array(tokens) == token].mean(0) - centre
        direction = torch.from_numpy(direction / np.linalg.norm(direction)).float()
        for part in ("gate_proj", "up_proj"):
            weights[f"model.layers.0.mlp.{part}.weight"][neuron] = 3 * direction
    save_file(weights, weights_file, {"format": "pt"})
    case = Case(case.folder, describe(str(case.folder), None), case.data, case.ids, case.plan_of)
    case.scan(tmp_path / "out.zarr.zip")
    layer = read_layer(tmp_path / "out.zarr.zip", 0)
    for neuron, token in enumerate(rare):
        for quantity in range(4):
            if quantity == 2:
                continue
            row, at = layer.extreme_example[neuron, 0, quantity, 0], layer.extreme_position[neuron, 0, quantity, 0]
            assert case.ids[row][at] == token
        assert layer.extreme_value[neuron, 0, 3, 0] > 2


@pytest.mark.parametrize("padding", [0.0, 0.6])
@pytest.mark.parametrize("shards", [1, 4])
def test_of_equal_texts_only_the_first_is_listed_however_the_work_is_cut(
    tmp_path: Path, olmo: Case, shards: int, padding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All texts fit into a list, so it names exactly those that have a token in the case."""
    monkeypatch.setitem(loop.PADDING, "cpu", padding)
    copies = copies_in(olmo.ids)
    assert {25, 26, 29} <= copies
    plan, done = olmo.plan_of(shards), dict(enumerate(forward(olmo.folder, olmo.ids)))
    paths = [tmp_path / f"{shard.name}.zarr.zip" for shard in plan.shards]
    for shard, path in zip(plan.shards, paths, strict=True):
        olmo.scan(path, shard.name, shards, k=len(olmo.ids), batch_tokens=10_000 if padding else 30)
    for layer in range(olmo.spec.n_layers):
        summary = functools.reduce(merge, (read_layer(path, layer) for path in paths))
        for neuron, (c, case) in itertools.product(range(olmo.spec.d_mlp), enumerate(CASES)):
            found = collect(done, layer, neuron, unsure=1e-5, unlisted=copies)[c]
            if found.unsure:
                continue
            assert summary.count[neuron, c] == found.count
            for quantity in case.listed:
                rows = summary.extreme_example[neuron, c, quantity.index]
                assert sorted(rows[rows >= 0]) == sorted(row for _, row, _ in found.extremes[quantity.index])


def test_auto_is_recorded_as_the_checkpoints_format(tmp_path: Path, olmo: Case) -> None:
    """Also where a shard has no texts, so that no model is loaded."""
    half = replace(olmo, spec=replace(olmo.spec, dtype="bfloat16"))
    shards = olmo.plan_of(31).shards
    for shard in (next(s for s in shards if s.rows), next(s for s in shards if not s.rows)):
        half.scan(tmp_path / "out.zarr.zip", shard.name, 31, dtype="auto", tf32=True)
        about = read_attributes(tmp_path / "out.zarr.zip")
        assert (about["dtype"], about["tf32"]) == ("bfloat16", True)
        (tmp_path / "out.zarr.zip").unlink()


def test_attributes_say_what_was_scanned(tmp_path: Path, olmo: Case) -> None:
    run_scan(
        olmo.spec, olmo.data, olmo.plan_of(3), "0001",
        scan_settings(k=2, samples=5, seed=9, reducer="torch"), tmp_path / "out.zarr.zip", attributes={"code": "abc"},
    )  # fmt: skip
    attributes = read_attributes(tmp_path / "out.zarr.zip")
    shard = olmo.plan_of(3).shard("0001")
    expected = {
        "model": str(olmo.folder), "model_revision": olmo.spec.revision, "k": 2, "seed": 9, "samples": 5,
        "convention": "raw", "device": "cpu", "reducer": "torch", "dtype": "float32", "first_row": shard.start,
        "last_row": shard.stop - 1, "rows": shard.rows, "tokens": shard.tokens, "code": "abc",
        "dataset_fingerprint": TokenDataset.open(olmo.data).record.fingerprint,
    }  # fmt: skip
    assert expected.items() <= attributes.items()
    assert {"torch", "transformers", "gluscope"} <= attributes["versions"].keys()


def test_case_names_are_those_of_the_brute_force() -> None:
    for gate, in_, place in ((1, 1, 0), (1, -1, 1), (-1, 1, 2), (-1, -1, 3)):
        assert case_of(gate, in_) == place
        assert (CASES[place].gate_sign, CASES[place].in_sign) == (gate, in_)
    assert case_of(0.0, 1.0) is None

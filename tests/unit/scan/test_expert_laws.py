"""Laws of a scan of experts: neither cut nor order nor batches change it, and a negated neuron is the other view."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.convention import view
from gluscope.dataset.build import build
from gluscope.dataset.plan import make_plan
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.sources import fetch
from gluscope.summary.file import SummaryReader
from gluscope.summary.shards import merge_shards
from gluscope.weights.folded import signs_of
from helpers.planted_expert import flip
from helpers.scan_case import Case, prepare, same
from helpers.settings import token_settings

LAST_BITS = {"rtol": 2e-5, "atol": 2e-5}
TRIED = ["OlmoeForCausalLM", "Qwen2MoeForCausalLM"]


@pytest.fixture(scope="module", params=TRIED)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return prepare(tmp_path_factory.mktemp("laws"), request.param)


@pytest.fixture(scope="module")
def alone(case: Case) -> SummaryReader:
    """Every text in a forward pass of its own, so that none differs in the last bits."""
    return scanned(case, case.folder.parent / "alone.zarr.zip", batch_tokens=1)


def scanned(case: Case, out: Path, shards: int = 1, convention: str = "raw", **how: Any) -> SummaryReader:
    """Merged from so many shards."""
    parts = [out.with_name(f"{out.name}-{number:04d}.zarr.zip") for number in range(shards)]
    for number, part in enumerate(parts):
        case.scan(part, f"{number:04d}", shards, **({"reducer": "numba"} | how))
    whole = out.with_name(f"{out.name}-whole")
    merge_shards(parts, whole, sign=signs_of(case.spec), convention=convention)
    return SummaryReader(whole)


@pytest.mark.parametrize("shards", [2, 3])
def test_merged_shards_are_the_whole(case: Case, alone: SummaryReader, tmp_path: Path, shards: int) -> None:
    found = scanned(case, tmp_path / "out", shards, batch_tokens=1)
    np.testing.assert_array_equal(found.routed(), alone.routed())
    np.testing.assert_array_equal(found.sample().example, alone.sample().example)
    np.testing.assert_array_equal(found.sample().position, alone.sample().position)
    for layer in range(case.spec.n_layers):
        same(found.layer(layer), alone.layer(layer))


@pytest.mark.parametrize("batch_tokens", [7, 40, 10_000])
def test_batches_change_only_the_last_bits(case: Case, alone: SummaryReader, tmp_path: Path, batch_tokens: int) -> None:
    found = scanned(case, tmp_path / "out", batch_tokens=batch_tokens)
    np.testing.assert_array_equal(found.routed(), alone.routed())
    for layer in range(case.spec.n_layers):
        one, other = found.layer(layer), alone.layer(layer)
        np.testing.assert_array_equal(one.count, other.count)
        np.testing.assert_allclose(one.extreme_value, other.extreme_value, **LAST_BITS)
        np.testing.assert_allclose(one.sum, other.sum, rtol=2e-5, atol=2e-4)


def test_the_order_of_texts_does_not_matter(case: Case, alone: SummaryReader, tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_dict({"input_ids": case.ids[::-1]}).save_to_disk(tmp_path / "source")
    build(tmp_path / "turned", fetch(str(tmp_path / "source"), str(case.folder)), token_settings())
    data = TokenDataset.open(tmp_path / "turned")
    turned = replace(case, data=tmp_path / "turned", ids=case.ids[::-1], plan_of=functools.partial(make_plan, data))
    found = scanned(turned, tmp_path / "out", batch_tokens=1)
    np.testing.assert_array_equal(found.routed(), alone.routed())
    for layer in range(case.spec.n_layers):
        one, other = found.layer(layer), alone.layer(layer)
        np.testing.assert_array_equal(one.count, other.count)
        np.testing.assert_array_equal(one.extreme_value, other.extreme_value)
        np.testing.assert_array_equal(one.extreme_position, other.extreme_position)
        np.testing.assert_allclose(one.sum, other.sum, rtol=1e-6, atol=1e-6)
        for at in np.argwhere(one.extreme_example >= 0)[::7].tolist():
            place = tuple(at)  # of equal values another text may be named: one that is the same up to the token
            texts = turned.ids[one.extreme_example[place]], case.ids[other.extreme_example[place]]
            assert len({tuple(ids[: one.extreme_position[place] + 1]) for ids in texts}) == 1


def test_a_neuron_with_w_in_and_w_out_negated_is_the_same_in_the_other_view(tmp_path: Path) -> None:
    """in+ and in- change places, all else stays; in the refactored convention nothing changes."""
    case = prepare(tmp_path, "OlmoeForCausalLM")
    size = case.spec.size
    negated = np.random.default_rng(1).random((size.n_layers, size.widest)) < 0.4
    turned = flip(case, tmp_path / "turned", negated)
    sign = np.where(negated, -1, 1).astype(np.int8)
    np.testing.assert_array_equal(signs_of(turned.spec), signs_of(case.spec) * sign)
    one, other = (scanned(own, tmp_path / name) for own, name in ((case, "raw"), (turned, "raw-turned")))
    np.testing.assert_array_equal(one.routed(), other.routed())
    for layer in range(size.n_layers):
        assert not np.array_equal(one.layer(layer).count, other.layer(layer).count)
        same(view(one.layer(layer), sign[layer], "raw", "refactored"), other.layer(layer))
    one, other = (
        scanned(own, tmp_path / name, convention="refactored")
        for own, name in ((case, "refactored"), (turned, "refactored-turned"))
    )
    for layer in range(size.n_layers):
        same(one.layer(layer), other.layer(layer))

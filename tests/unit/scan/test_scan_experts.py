"""The scan of mixtures of experts against loops over tokens: counts, sums, extremes, samples, the router's choice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.cache.reader import CacheReader
from gluscope.core.cases import CASES, LISTS
from gluscope.summary.file import SummaryReader
from gluscope.summary.shards import merge_shards
from gluscope.summary.types import LayerSummary
from gluscope.weights.folded import signs_of
from helpers.brute_experts import Brute, brute
from helpers.scan_case import Case, K, prepare
from helpers.tiny_experts import MIXTURES

Prepared = Callable[[str], tuple[Case, Brute]]
Texts = list[tuple[np.ndarray, np.ndarray]]  # positions that reach an expert, and values there, by text
TOLERANCE = 2e-5  # of a value of size 1 to 10: float32 through three layers


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder, made = tmp_path_factory.mktemp("scanned"), {}

    def get(architecture: str) -> tuple[Case, Brute]:
        if architecture not in made:
            case = prepare(folder / architecture, architecture)
            case.scan(folder / architecture / "0.zarr.zip", cache=folder / architecture / "cache.zarr", reducer="numba")
            made[architecture] = case, brute(case.folder, case.ids)
        return made[architecture]

    return get


def scanned(prepared: Prepared, architecture: str) -> SummaryReader:
    return SummaryReader(prepared(architecture)[0].folder.parent / "0.zarr.zip")


@pytest.mark.parametrize("architecture", MIXTURES)
def test_counts_sums_and_extremes(architecture: str, prepared: Prepared) -> None:
    """Of every MLP of every layer; counts exact but for tokens that float32 may put on the other side of 0."""
    case, slow = prepared(architecture)
    found, size = scanned(prepared, architecture), case.spec.size
    first_of = first_copies(case.ids)
    compared = 0
    for layer, neurons in enumerate(size.layers):
        part = found.layer(layer)
        for stretch in neurons.stretches():
            texts = slow.values[layer, stretch.expert]
            for number in range(0, stretch.width, 5):
                own = stretch.begin + number
                compared += check_neuron(part, own, texts, number, first_of)
        assert not part.count[neurons.count :].any()
        assert (part.extreme_example[neurons.count :] == -1).all()
    assert compared > 100


def check_neuron(
    part: LayerSummary, own: int, texts: list[tuple[np.ndarray, np.ndarray]], number: int, first_of: list[bool]
) -> int:
    compared = 0
    for case in CASES:
        counts, unsure, sums = 0, 0, np.zeros(4)
        best: list[list[tuple[float, int, int]]] = [[], [], [], []]
        for row, (positions, values) in enumerate(texts):
            mine = values[:, number]
            inside = (mine[:, 0] * case.gate_sign > 0) & (mine[:, 1] * case.in_sign > 0)
            unsure += int((np.abs(mine[:, :2]).min(1, initial=9) < TOLERANCE).sum()) if len(mine) else 0
            counts += int(inside.sum())
            sums += mine[inside].sum(0)
            if inside.any() and first_of[row]:
                for quantity in range(4):
                    sizes = np.where(inside, np.abs(mine[:, quantity]), -1)
                    best[quantity].append((float(sizes.max()), row, int(positions[sizes.argmax()])))
        assert abs(int(part.count[own, case.index]) - counts) <= unsure
        np.testing.assert_allclose(part.sum[own, case.index], sums, atol=1e-3 + 10 * unsure)
        compared += counts > 0
        for listed, quantity in LISTS:
            if listed is not case:
                continue
            at = (own, case.index, quantity.index)
            expected = sorted(best[quantity.index], key=lambda one: -one[0])[:K]
            value = part.extreme_value[at]
            filled = ~np.isnan(value)
            if unsure:
                continue
            sizes = [one[0] for one in expected]
            assert filled.sum() == len(expected)
            np.testing.assert_allclose(np.abs(value[filled]), sizes, atol=10 * TOLERANCE, rtol=1e-4)
            # Texts that begin alike tie but for last bits: what must hold is the value at the place that is named.
            for size, row, position in zip(
                sizes, part.extreme_example[at][filled], part.extreme_position[at][filled], strict=True
            ):
                positions, values = texts[row]
                (there,) = np.flatnonzero(positions == position)
                np.testing.assert_allclose(
                    abs(values[there, number, quantity.index]), size, atol=10 * TOLERANCE, rtol=1e-4
                )
    return compared


def first_copies(ids: list[list[int]]) -> list[bool]:
    seen: set[tuple[int, ...]] = set()
    return [not (tuple(text) in seen or seen.add(tuple(text))) for text in ids]  # type: ignore[func-returns-value]


@pytest.mark.parametrize("architecture", MIXTURES)
def test_tokens_sent_to_each_expert_are_counted(architecture: str, prepared: Prepared) -> None:
    case, slow = prepared(architecture)
    routed = scanned(prepared, architecture).routed()
    assert routed is not None
    assert case.spec.mixture is not None
    expected = np.zeros_like(routed)
    for layer in case.spec.mixture.layers:
        for expert in range(case.spec.mixture.experts):
            expected[layer, expert] = sum(len(at) for at, _ in slow.values[layer, f"E{expert}"])
    np.testing.assert_array_equal(routed, expected)
    total = sum(map(len, case.ids))
    assert set(routed.sum(1)) == {total * case.spec.mixture.chosen} | ({0} if case.spec.mixture.dense else set())


@pytest.mark.parametrize("architecture", ["OlmoeForCausalLM", "Qwen2MoeForCausalLM", "GptOssForCausalLM"])
def test_samples_are_of_tokens_that_reach_the_expert(architecture: str, prepared: Prepared) -> None:
    case, slow = prepared(architecture)
    reader = scanned(prepared, architecture)
    sample, reached = reader.sample(), 0
    for layer, neurons in enumerate(case.spec.size.layers):
        part = reader.layer(layer)
        for stretch in neurons.stretches():
            texts = slow.values[layer, stretch.expert]
            for at, (row, position) in enumerate(zip(sample.example, sample.position, strict=True)):
                positions, values = texts[row]
                place = np.flatnonzero(positions == position)
                both = np.stack([part.sample_gate, part.sample_in])[:, stretch.begin : stretch.end, at]
                if len(place):
                    np.testing.assert_allclose(both, values[place[0], :, :2].T, atol=2e-3, rtol=2e-3)
                    reached += 1
                else:
                    assert np.isnan(both).all()
    assert reached


@pytest.mark.parametrize("architecture", ["OlmoeForCausalLM", "DeepseekV3ForCausalLM", "GptOssForCausalLM"])
def test_the_cache_keeps_the_routers_choice(architecture: str, prepared: Prepared) -> None:
    case, slow = prepared(architecture)
    assert case.spec.mixture is not None
    with CacheReader(case.folder.parent / "cache.zarr") as cache:
        for layer in case.spec.mixture.layers:
            for expert in range(case.spec.mixture.experts):
                for row, ids in enumerate(case.ids):
                    expected = np.full(len(ids), np.nan)
                    expected[slow.values[layer, f"E{expert}"][row][0]] = slow.weights[layer, f"E{expert}"][row]
                    np.testing.assert_allclose(cache.router_weight(layer, row, expert), expected, atol=1e-5)


@pytest.mark.parametrize("architecture", ["OlmoeForCausalLM", "DeepseekV3ForCausalLM", "GptOssForCausalLM"])
@pytest.mark.parametrize(
    "how", [{"batch_tokens": 7}, {"batch_tokens": 60}, {"reducer": "torch"}, {"shards": 3}], ids=str
)
def test_the_cut_changes_nothing(architecture: str, how: dict[str, Any], prepared: Prepared, tmp_path: Path) -> None:
    """Batches, reducers and shards: the same counts, lists and samples, sums to rounding."""
    case, slow = prepared(architecture)
    how = {"reducer": "numba"} | how
    shards = how.pop("shards", 1)
    outs = [tmp_path / f"{number:04d}.zarr.zip" for number in range(shards)]
    for number, out in enumerate(outs):
        case.scan(out, f"{number:04d}", shards, **how)
    whole = tmp_path / "summary.zarr"
    merge_shards(outs, whole, sign=signs_of(case.spec))
    one, other = scanned(prepared, architecture), SummaryReader(whole)
    np.testing.assert_array_equal(one.routed(), other.routed())
    for layer in range(case.spec.n_layers):
        left, right = one.layer(layer), other.layer(layer)
        np.testing.assert_array_equal(left.count, right.count)
        if len(how) == 1 and shards == 1:  # another reducer, the same forward passes
            np.testing.assert_array_equal(left.extreme_example, right.extreme_example)
            np.testing.assert_array_equal(left.extreme_position, right.extreme_position)
        for name in ("extreme_value", "sample_gate", "sample_in"):
            np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(left.sum, right.sum, rtol=1e-5, atol=1e-4)
        for stretch in case.spec.size.layers[layer].stretches():
            texts = slow.values[layer, stretch.expert]
            check_neuron(right, stretch.begin, texts, 0, first_copies(case.ids))


def test_skipped_tokens_reach_no_expert(prepared: Prepared, tmp_path: Path) -> None:
    """They are in no count, list or sample, and not among the tokens sent to an expert; shared experts likewise."""
    case, slow = prepared("Qwen2MoeForCausalLM")
    case.scan(tmp_path / "0.zarr.zip", reducer="numba", skip_tokens=["bos"])
    reader, size = SummaryReader(tmp_path / "0.zarr.zip"), case.spec.size
    routed = reader.routed()
    assert routed is not None
    for layer, neurons in enumerate(size.layers):
        part = reader.layer(layer)
        for stretch in neurons.stretches():
            kept = [(at[at > 0], values[at > 0]) for at, values in slow.values[layer, stretch.expert]]
            check_neuron(part, stretch.begin + 1, kept, 1, first_copies(case.ids))
            if stretch.expert not in ("", "ES"):
                assert routed[layer, int(stretch.expert[1:])] == sum(len(at) for at, _ in kept)

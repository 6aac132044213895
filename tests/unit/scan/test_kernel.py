"""The compiled reducer against the reference where its own tricks could go wrong: tiles, lanes, bars, ties, threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gluscope.core.cases import QUANTITIES
from gluscope.core.errors import ModelError
from gluscope.scan import kernel, vector
from gluscope.scan.kernel import NumbaReducer
from gluscope.scan.reduce import Reducer, TorchReducer
from gluscope.scan.threads import Threads
from gluscope.summary.types import LayerSummary
from hypothesis import given, settings
from hypothesis import strategies as st

EXACT = ("count", "extreme_value", "extreme_example", "extreme_position")
Values = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def some_values(
    rng: np.random.Generator, tokens: int, neurons: int, levels: int, act: str = "silu", dtype: str = "float32"
) -> Values:
    """Tensors as a model makes them. levels: gate and in are rounded to 1/levels; 0 is then frequent."""
    gate, in_ = (
        torch.from_numpy(np.round(rng.standard_normal((tokens, neurons)) * levels) / levels).to(getattr(torch, dtype))
        for _ in range(2)
    )
    activated = torch.relu(gate) * torch.sign(gate).abs() if act == "relu" else torch.nn.functional.silu(gate)
    return gate, in_, activated, activated * in_


def feed(reducer: Reducer, rows: np.ndarray, lengths: np.ndarray, values: Values, cuts: list[int]) -> LayerSummary:
    """The summary of texts that go in in batches that begin at `cuts`."""
    ends = np.cumsum(lengths)
    for low, high in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        part = slice(int(ends[low] - lengths[low]), int(ends[high - 1])) if high > low else slice(0, 0)
        reducer.update(0, rows[low:high], lengths[low:high], *(value[part] for value in values))
    return reducer.layer_summary(0)


def assert_equal(left: LayerSummary, right: LayerSummary) -> None:
    """Extremes and counts to the bit, and no -0; sums of terms of one sign to float32's rounding of a tile."""
    for name in EXACT:
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    zero = left.extreme_value == 0
    assert not np.signbit(left.extreme_value[zero]).any()
    assert not np.signbit(right.extreme_value[right.extreme_value == 0]).any()
    np.testing.assert_allclose(left.sum, right.sum, rtol=kernel.TILE * 2**-24)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_equals_the_reference(data: st.DataObject) -> None:
    """Any shape, ties, cut into batches, order of rows, number format."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    texts, neurons, k = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 37)), data.draw(st.integers(1, 5))
    dtype = data.draw(st.sampled_from(["float32", "float32", "bfloat16", "float16"]))
    levels, act = data.draw(st.sampled_from([1, 3, 1000])), data.draw(st.sampled_from(["silu", "relu"]))
    tile = kernel.TILE
    lengths = rng.choice([1, 2, 7, tile - 1, tile, tile + 1, 2 * tile, 2 * tile + 5], texts)
    rows = rng.permutation(100)[:texts]
    values = some_values(rng, int(lengths.sum()), neurons, levels, act, dtype)
    cuts = sorted(rng.choice(np.arange(texts), data.draw(st.integers(0, min(3, texts))), replace=False).tolist())
    compiled = feed(NumbaReducer(1, neurons, k), rows, lengths, values, cuts)
    assert_equal(compiled, feed(TorchReducer(1, neurons, k), rows, lengths, values, []))


@pytest.mark.parametrize("act", ["silu", "relu"])
@pytest.mark.parametrize("levels", [1, 2, 1000])
def test_lists_that_have_long_been_full(levels: int, act: str) -> None:
    """Most texts beat nothing then; a lower row must still win a tie, also one of magnitude 0."""
    rng = np.random.default_rng(levels)
    rows, lengths = rng.permutation(5000)[:1200], rng.integers(1, 5, 1200)
    values = some_values(rng, int(lengths.sum()), 19, levels, act)
    cuts = list(range(7, 1200, 7))
    compiled = feed(NumbaReducer(1, 19, 3), rows, lengths, values, cuts)
    assert_equal(compiled, feed(TorchReducer(1, 19, 3), rows, lengths, values, [400, 800]))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_long_texts_after_lists_are_full(dtype: str) -> None:
    """Some neurons of a group beat a list then, in several tiles: they are found together or each alone."""
    rng = np.random.default_rng(5)
    rows, lengths = rng.permutation(5000)[:150], rng.integers(1, 200, 150)
    values = some_values(rng, int(lengths.sum()), 35, 1000, dtype=dtype)
    compiled = feed(NumbaReducer(1, 35, 20), rows, lengths, values, list(range(1, 150)))
    assert_equal(compiled, feed(TorchReducer(1, 35, 20), rows, lengths, values, [70]))


def test_strided_halves_of_a_fused_projection_are_read_in_place() -> None:
    rng = np.random.default_rng(0)
    gate, in_, act, post = some_values(rng, 90, 40, 1000)
    fused = torch.cat([gate, in_], 1)
    halves = (*fused.chunk(2, -1), act, post)
    rows, lengths = np.array([5, 3]), np.array([50, 40])
    assert kernel._alike(halves[0], halves[1], torch.float32)[0].data_ptr() == fused.data_ptr()
    want = feed(TorchReducer(1, 40, 2), rows, lengths, (gate, in_, act, post), [])
    assert_equal(feed(NumbaReducer(1, 40, 2), rows, lengths, halves, []), want)
    turned = tuple(value.t().contiguous().t() for value in (gate, in_, act, post))
    assert_equal(feed(NumbaReducer(1, 40, 2), rows, lengths, turned, []), want)


@pytest.mark.parametrize("mixed", [torch.float64, torch.bfloat16])
def test_other_and_mixed_number_formats_are_converted(mixed: torch.dtype) -> None:
    gate, in_, act, post = some_values(np.random.default_rng(1), 60, 20, 2)
    values = (gate.to(mixed), in_.to(mixed), act, post)
    rows, lengths = np.array([1, 0]), np.array([20, 40])
    want = feed(TorchReducer(1, 20, 2), rows, lengths, (gate, in_, act, post), [])
    assert_equal(feed(NumbaReducer(1, 20, 2), rows, lengths, values, []), want)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("openmp", [True, False])
def test_threads_change_nothing(two_threads: None, openmp: bool) -> None:
    rng = np.random.default_rng(2)
    neurons = 5 * kernel.BLOCK * vector.WIDTH + 3
    rows, lengths = rng.permutation(50)[:20], rng.integers(1, 60, 20)
    values = some_values(rng, int(lengths.sum()), neurons, 3)
    reducer = NumbaReducer(1, neurons, 4)
    reducer._threads = Threads(openmp)
    found = feed(reducer, rows, lengths, values, [3, 11])
    assert_equal(found, feed(TorchReducer(1, neurons, 4), rows, lengths, values, []))


def test_works_when_called_from_another_thread(two_threads: None) -> None:
    rng = np.random.default_rng(3)
    values, found = some_values(rng, 50, 600, 3), []
    rows, lengths = np.array([4]), np.array([50])
    thread = threading.Thread(target=lambda: found.append(feed(NumbaReducer(1, 600, 2), rows, lengths, values, [])))
    thread.start()
    thread.join()
    assert_equal(found[0], feed(TorchReducer(1, 600, 2), rows, lengths, values, []))


@pytest.mark.parametrize(("width", "masked"), [(8, False), (4, True)])
def test_code_for_other_processors(monkeypatch: pytest.MonkeyPatch, width: int, masked: bool) -> None:
    """What is written for a CPU with narrower vectors, or without masks, runs on every one."""
    for module in (kernel, vector):
        monkeypatch.setattr(module, "WIDTH", width)
    monkeypatch.setattr(vector, "MASKED", masked)
    code = kernel.compiled.__wrapped__("float32")
    monkeypatch.setattr(kernel, "compiled", lambda dtype: code)
    rng = np.random.default_rng(4)
    rows, lengths = rng.permutation(900)[:300], rng.integers(1, 50, 300)
    for act in ("silu", "relu"):
        values = some_values(rng, int(lengths.sum()), 21, 2, act)
        compiled = feed(NumbaReducer(1, 21, 3), rows, lengths, values, [1, 100])
        assert_equal(compiled, feed(TorchReducer(1, 21, 3), rows, lengths, values, []))


def test_sums_of_many_tokens_lose_nothing() -> None:
    """Two million tokens; each text's float32 error is independent of the others', so that it does not grow."""
    rng = np.random.default_rng(5)
    values = some_values(rng, 100_000, 4, 10**6)
    reducer, lengths = NumbaReducer(1, 4, 1), np.full(100, 1000)
    for batch in range(20):
        reducer.update(0, np.arange(100) + 100 * batch, lengths, *values)
    gate, in_ = (value.double().numpy() for value in values[:2])
    case = (gate < 0) & (in_ > 0)
    found = reducer.layer_summary(0)
    for quantity, value in zip(QUANTITIES, values, strict=True):
        exact = 20 * np.where(case, value.double().numpy(), 0).sum(0)
        np.testing.assert_allclose(found.sum[:, 2, quantity.index], exact, rtol=3e-8)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(("token", "neuron"), [(0, 0), (39, 20), (40, 16), (99, 3)])
def test_one_value_that_is_not_finite_is_found_anywhere(dtype: str, token: int, neuron: int) -> None:
    for bad in (np.nan, np.inf, -np.inf):
        for which in range(4):
            values = some_values(np.random.default_rng(6), 100, 21, 2, dtype=dtype)
            values[which][token, neuron] = bad
            with pytest.raises(ModelError, match="layer 2"):
                NumbaReducer(3, 21, 2).update(2, np.array([0, 1]), np.array([40, 60]), *values)


def test_sums_that_overflow_are_refused() -> None:
    """Each value is finite."""
    values = (torch.full((8, 1), 3e38), *(torch.full((8, 1), 1.0) for _ in range(3)))
    reducer = NumbaReducer(1, 1, 1)
    reducer.update(0, np.array([0]), np.array([8]), *values)
    with pytest.raises(ModelError, match="layer 0"):
        reducer.layer_summary(0)


def test_lengths_that_do_not_fit_the_tensors_are_refused() -> None:
    values = some_values(np.random.default_rng(7), 10, 3, 2)
    with pytest.raises(ValueError, match="10 tokens"):
        NumbaReducer(1, 3, 2).update(0, np.array([0]), np.array([11]), *values)


@pytest.mark.parametrize("kind", [NumbaReducer, TorchReducer])
def test_no_texts_change_nothing(kind: type) -> None:
    reducer = kind(1, 3, 2)
    reducer.update(0, np.zeros(0, np.int64), np.zeros(0, np.int64), *(torch.zeros(0, 3) for _ in range(4)))
    assert not reducer.layer_summary(0).count.any()

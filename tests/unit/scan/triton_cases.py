"""`TritonReducer` in Triton's interpreter, on CPU tensors; `test_triton.py` runs this with TRITON_INTERPRET=1.

The interpreter takes some ten milliseconds a token, so sizes are cut down: segments, tiles and blocks as well.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gluscope.core.cases import CASES, QUANTITIES, Quantity
from gluscope.core.errors import ModelError
from gluscope.scan import loop, segments, triton_check, triton_kernel, triton_reduce
from gluscope.scan.reduce import TorchReducer, make_reducer
from gluscope.scan.triton_reduce import TritonReducer, _State
from gluscope.summary.types import LayerSummary
from helpers.brute_force import statistics
from helpers.little_memory import RunsOut
from helpers.scan_case import agrees_with, prepare, same, summaries
from helpers.summaries import refactor

EXACT = ("count", "extreme_value", "extreme_example", "extreme_position")
LENGTHS = np.array([1, 9, 3, 10, 4])
ROWS = np.array([6, 2**31 + 5, 0, 3, 8])
NEURONS, K = 13, 3
Values = tuple[torch.Tensor, ...]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"SEGMENT": 8, "SEGMENT_MARKED": 8, "TILE": 4, "SCAN": 4, "BLOCK": 16, "LANES": 16, "CHUNK": 2}
    for name, value in small.items():
        monkeypatch.setattr(triton_kernel, name, value)
    # Three splits or so for some ten tokens.
    monkeypatch.setattr(segments, "LEAST_SPLIT", 3)
    monkeypatch.setattr(triton_reduce, "_slots", lambda _: 3)


def some_values(
    seed: int, tokens: int | np.integer, levels: int, act: str = "silu", dtype: torch.dtype = torch.float32
) -> Values:
    """gate and in are rounded to 1/levels: 0 and ties are then frequent."""
    generator = torch.Generator().manual_seed(seed)
    gate, in_ = ((torch.randn(int(tokens), NEURONS, generator=generator) * levels).round() / levels for _ in range(2))
    gate = (gate - torch.linspace(-2, 2, NEURONS).round()).to(dtype)
    activated = torch.relu(gate) * gate.sign().abs() if act == "relu" else torch.nn.functional.silu(gate)
    return gate, in_.to(dtype), activated, activated * in_.to(dtype)


def feed(reducer, values: Values, cuts=(), rows=ROWS, lengths=LENGTHS, order=None) -> LayerSummary:  # type: ignore[no-untyped-def]
    """The summary of texts that go in in batches that begin at `cuts`, in an order."""
    order = np.arange(len(rows)) if order is None else order
    begins = np.cumsum(lengths) - lengths
    for batch in np.split(order, list(cuts)):
        tokens = np.concatenate([np.arange(begins[i], begins[i] + lengths[i]) for i in batch])
        reducer.update(0, rows[batch], lengths[batch], *(value[tokens] for value in values))
    return reducer.layer_summary(0)


def assert_equal(left: LayerSummary, right: LayerSummary) -> None:
    for name in EXACT:
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    assert not np.signbit(left.extreme_value[left.extreme_value == 0]).any()
    np.testing.assert_allclose(left.sum, right.sum, rtol=8 * 2**-24)


@pytest.mark.parametrize(
    ("levels", "act", "dtype"),
    [(1000, "silu", torch.float32), (2, "silu", torch.bfloat16), (2, "relu", torch.float16)],
)
def test_equals_the_reference(monkeypatch: pytest.MonkeyPatch, levels: int, act: str, dtype: torch.dtype) -> None:
    if dtype == torch.float32:
        monkeypatch.setattr(triton_kernel, "BLOCK", 8)
        monkeypatch.setattr(triton_kernel, "LANES", 8)
    values, texts = some_values(levels, LENGTHS[:3].sum(), levels, act, dtype), (ROWS[:3], LENGTHS[:3])
    found = feed(make_reducer(1, NEURONS, 2, kind="triton"), values, [2], *texts)
    assert_equal(found, feed(TorchReducer(1, NEURONS, 2), values, [], *texts))


def test_equals_brute_force_with_more_places_than_texts() -> None:
    values = some_values(1, LENGTHS[:3].sum(), 2)
    summary = feed(TritonReducer(1, NEURONS, 5), values, rows=ROWS[:3], lengths=LENGTHS[:3])
    texts = [
        torch.stack(values, -1).numpy()[end - n : end] for end, n in zip(LENGTHS.cumsum(), LENGTHS[:3], strict=False)
    ]
    for neuron in range(NEURONS):
        own = [
            (int(r), {q.value: t[:, neuron, q.index] for q in QUANTITIES}) for r, t in zip(ROWS, texts, strict=False)
        ]
        expected = statistics(own, 5)
        for case in CASES:
            assert summary.count[neuron, case.index] == expected[case.value]["count"]
            for quantity in case.listed:
                at = (neuron, case.index, quantity.index)
                entries = expected[case.value]["extreme"][quantity.value]
                assert summary.sum[at] == pytest.approx(expected[case.value]["sum"][quantity.value], rel=8 * 2**-24)
                parts = (summary.extreme_value, summary.extreme_example, summary.extreme_position)
                assert list(zip(*(part[at][: len(entries)].tolist() for part in parts), strict=True)) == entries
                assert (summary.extreme_example[at][len(entries) :] == -1).all()


def test_no_cut_of_the_work_changes_anything() -> None:
    """Batches, order of texts."""
    values = some_values(2, LENGTHS.sum(), 2)
    order = np.random.default_rng(2).permutation(len(ROWS))
    found = feed(TritonReducer(1, NEURONS, K), values, [1, 3], order=order)
    assert_equal(found, feed(TorchReducer(1, NEURONS, K), values))


def test_padding_is_not_read_and_launches_and_splits_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """gate and in are halves of a fused projection."""
    monkeypatch.setattr(segments, "MOST_LAUNCHED", 4)
    monkeypatch.setattr(triton_kernel, "MOST_SEGMENTS", 2)
    values = some_values(3, LENGTHS.sum(), 2)
    padded = torch.full((len(values), len(LENGTHS), 11, NEURONS), torch.nan)
    for to, value in zip(padded, values, strict=True):
        for own, part in zip(to, value.split(LENGTHS.tolist()), strict=True):
            own[: len(part)] = part
    reducer = TritonReducer(1, NEURONS, K)
    reducer.update(0, ROWS, LENGTHS, *torch.cat([padded[0], padded[1]], -1).chunk(2, -1), padded[2], padded[3])
    assert_equal(reducer.layer_summary(0), feed(TorchReducer(1, NEURONS, K), values))


class _Nothing:
    """A kernel that does nothing, or cannot be started."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def __getitem__(self, grid: tuple[int, ...]) -> _Nothing:
        return self

    def __call__(self, *arguments: object, **options: object) -> None:
        if self.error is not None:
            raise self.error


def test_from_the_first_launch_on_no_memory_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So what runs out does so before any statistics change; here with two launches, of which the second is larger."""
    monkeypatch.setattr(segments, "MOST_LAUNCHED", 4)
    real = _State.take

    def take(*arguments: object) -> None:
        with RunsOut(0):
            real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(_State, "take", take)
    for name in ("reduce_splits", "merge_hits"):
        monkeypatch.setattr(triton_kernel, name, _Nothing())
    reducer = TritonReducer(1, NEURONS, K)
    for texts in (slice(0, 2), slice(0, 5)):
        reducer.update(0, ROWS[texts], LENGTHS[texts], *some_values(4, LENGTHS[texts].sum(), 2))
    with pytest.raises(torch.OutOfMemoryError), RunsOut(0):
        torch.zeros(1)


def test_memory_that_runs_out_after_all_ends_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("Triton Error [CUDA]: out of memory")
    monkeypatch.setattr(triton_kernel, "merge_hits", _Nothing(error))
    with pytest.raises(ModelError, match=r"layer 0: expected memory for the reduction.*`batch_tokens` lower"):
        feed(TritonReducer(1, NEURONS, K), some_values(5, LENGTHS.sum(), 2))


def test_lists_that_have_long_been_full() -> None:
    """Later texts of a lower row win a tie, also one of magnitude 0, and most beat nothing."""
    lengths, rows = np.full(12, 2), np.random.default_rng(4).permutation(12)
    values = some_values(4, 24, 1, "relu")
    found = feed(TritonReducer(1, NEURONS, 2), values, [7], rows, lengths)
    assert_equal(found, feed(TorchReducer(1, NEURONS, 2), values, [], rows, lengths))


def test_negating_w_in_is_the_refactored_convention() -> None:
    gate, in_, act, post = values = some_values(5, LENGTHS[:3].sum(), 2)
    texts = {"rows": ROWS[:3], "lengths": LENGTHS[:3]}
    negated = feed(TritonReducer(1, NEURONS, K), (gate, -in_, act, -post), **texts)
    found = feed(TritonReducer(1, NEURONS, K), values, **texts)
    assert_equal(refactor(found, np.full(NEURONS, -1, np.int8)), negated)


def test_zero_is_in_no_case_and_a_magnitude_of_zero_is_an_extreme() -> None:
    gate = torch.tensor([[0.0], [-0.0], [1.0], [1.0], [-90.0]])
    in_ = torch.tensor([[1.0], [1.0], [0.0], [-0.0], [2.0]])
    act = torch.tensor([[0.0], [-0.0], [0.7], [0.7], [-0.0]])
    reducer = TritonReducer(1, 1, 2)
    reducer.update(0, np.array([3]), np.array([5]), gate, in_, act, act * in_)
    summary = reducer.layer_summary(0)
    assert summary.count.tolist() == [[0, 0, 1, 0]]
    assert summary.extreme_value[0, 2, Quantity.POST.index].tolist()[0] == 0.0
    assert summary.extreme_example[0, 2, Quantity.POST.index].tolist() == [3, -1]
    assert summary.extreme_position[0, 2, Quantity.ACT.index].tolist() == [4, -1]


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    """Whichever tensor they are in, and if the token is in no case as well."""
    reducer = TritonReducer(5, NEURONS, 1)
    good = some_values(6, 2, 1)
    for which in range(4):
        values = [value.clone() for value in good]
        values[which][1, 9] = bad
        reducer.update(which, np.array([which]), np.array([2]), *values)
        with pytest.raises(ModelError, match=f"layer {which}"):
            reducer.layer_summary(which)
    assert not reducer.layer_summary(4).count.any()


def test_sums_go_on_in_float64() -> None:
    reducer = TritonReducer(1, 1, 1)
    for row, value in enumerate([2.0**24, 1.0]):
        number = torch.tensor([[value]])
        reducer.update(0, np.array([row]), np.array([1]), number, number, number, number)
    assert reducer.layer_summary(0).sum[0, 0].tolist() == [2.0**24 + 1] * 4


def test_what_does_not_fit_is_refused_and_no_texts_change_nothing() -> None:
    reducer = TritonReducer(1, NEURONS, K)
    with pytest.raises(ValueError, match="tokens for texts of 3"):
        reducer.update(0, np.array([0]), np.array([3]), *some_values(7, 2, 1))
    reducer.update(0, np.zeros(0, np.int64), np.zeros(0, np.int64), *some_values(7, 0, 1))
    assert not reducer.layer_summary(0).count.any()


def test_the_check_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def problem(dtype: torch.dtype, fused: bool) -> str | None:
        return triton_check.triton_problem(NEURONS, 2, "cpu", dtype, fused, (3, 1, 5))

    assert problem(torch.bfloat16, True) is None
    real = TritonReducer.update

    def wrong_if(what: str) -> None:
        def update(
            reducer: TritonReducer, layer: int, rows: np.ndarray, lengths: np.ndarray, *values: torch.Tensor
        ) -> None:
            gate = values[0]
            is_so = {
                "padded": gate.ndim == 3,
                "fused": gate.stride(-2) == 2 * NEURONS,
                "float32": gate.dtype == torch.float32,
            }[what]
            real(reducer, layer, rows + is_so, lengths, *values)

        monkeypatch.setattr(TritonReducer, "update", update)

    for what, dtype, fused in (
        ("padded", torch.bfloat16, False),
        ("fused", torch.float16, True),
        ("float32", torch.float32, False),
    ):
        wrong_if(what)
        assert str(problem(dtype, fused)).startswith("another `extreme_")


def test_a_scan_that_skips_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole scan, with padding that the reducer is not to read."""
    monkeypatch.setitem(loop.PADDING, "cpu", 0.6)
    case = prepare(tmp_path, "OlmoForCausalLM", n_layers=1, d_model=16, n_heads=2, d_mlp=5)
    found = {}
    for reducer in ("triton", "torch"):
        case.scan(tmp_path / f"{reducer}.zarr.zip", reducer=reducer, skip_tokens=["bos", 9], samples=0)
        found[reducer] = summaries(case, tmp_path / f"{reducer}.zarr.zip")[0]
    same(found["triton"], found["torch"])
    left_out = {row: {at for at, token in enumerate(ids) if token in (0, 9)} for row, ids in enumerate(case.ids)}
    agrees_with(case, [found["triton"]], "silu", left_out)

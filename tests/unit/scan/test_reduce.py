"""The reducers against brute force, against each other, and under every cut of the work."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import torch
from gluscope.core.cases import CASES, QUANTITIES, Quantity
from gluscope.core.errors import ModelError
from gluscope.scan import reduce
from gluscope.scan.reduce import make_reducer
from gluscope.summary.types import LayerSummary
from helpers.brute_force import statistics
from helpers.little_memory import RunsOut
from helpers.merging import merge
from helpers.summaries import refactor

NEURONS, K = 9, 4
KINDS = ["torch", "numba"]
Text = tuple[int, dict[Quantity, np.ndarray]]


def some_texts(seed: int, texts: int = 30, neurons: int = NEURONS, levels: int | None = None) -> list[Text]:
    """Texts of 1 to 40 tokens with rows that are not in order. levels: values rounded to so many, for ties."""
    rng = np.random.default_rng(seed)
    found = []
    for row in rng.permutation(texts * 3)[:texts]:
        shape = (int(rng.integers(1, 41)), neurons)
        gate, in_ = rng.standard_normal((2, *shape)).astype(np.float32)
        gate -= np.linspace(-3, 3, neurons, dtype=np.float32)  # some neurons are nearly always open, some closed
        if levels:
            gate, in_ = (np.round(value * levels) / levels for value in (gate, in_))
        act = gate / (1 + np.exp(-gate))
        found.append((int(row), dict(zip(QUANTITIES, (gate, in_, act, act * in_), strict=True))))
    return found


def reduced(
    kind: str, texts: list[Text], batch: int = 5, k: int = K, dtype: torch.dtype = torch.float32
) -> LayerSummary:
    """The summary of texts that go in in batches of `batch`."""
    neurons = texts[0][1][Quantity.GATE].shape[1]
    reducer = make_reducer(2, neurons, k, kind=kind)
    for begin in range(0, len(texts), batch):
        part = texts[begin : begin + batch]
        rows = np.array([row for row, _ in part])
        lengths = np.array([len(values[Quantity.GATE]) for _, values in part])
        tensors = (
            torch.from_numpy(np.concatenate([values[quantity] for _, values in part])).to(dtype)
            for quantity in QUANTITIES
        )
        reducer.update(1, rows, lengths, *tensors)
    return reducer.layer_summary(1)


def assert_same(left: LayerSummary, right: LayerSummary, rtol: float = 1e-6) -> None:
    for name in ("count", "extreme_value", "extreme_example", "extreme_position"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    # Sums of terms of one sign: float32 partial sums of 64 terms are off by less than 64 * 2^-24 of themselves.
    np.testing.assert_allclose(left.sum, right.sum, rtol=64 * 2**-24)


def assert_is_brute_force(summary: LayerSummary, texts: list[Text], k: int) -> None:
    for neuron in range(summary.neurons):
        own = [(row, {q.value: values[q][:, neuron] for q in QUANTITIES}) for row, values in texts]
        expected = statistics(own, k)
        for case in CASES:
            assert summary.count[neuron, case.index] == expected[case.value]["count"]
            for quantity in QUANTITIES:
                at = (neuron, case.index, quantity.index)
                assert summary.sum[at] == pytest.approx(expected[case.value]["sum"][quantity.value], rel=64 * 2**-24)
                entries = expected[case.value]["extreme"][quantity.value] if quantity in case.listed else []
                found = list(
                    zip(
                        summary.extreme_value[at].tolist(),
                        summary.extreme_example[at].tolist(),
                        summary.extreme_position[at].tolist(),
                        strict=True,
                    )
                )
                assert found[: len(entries)] == entries
                for value, row, position in found[len(entries) :]:
                    assert np.isnan(value)
                    assert (row, position) == (-1, -1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize(("seed", "texts", "k"), [(0, 30, 4), (1, 3, 4), (2, 30, 1), (3, 60, 16)])
def test_equals_brute_force(kind: str, levels: int | None, seed: int, texts: int, k: int) -> None:
    given = some_texts(seed, texts, levels=levels)
    assert_is_brute_force(reduced(kind, given, k=k), given, k)


@pytest.mark.parametrize("neurons", [1, 127, 128, 129, 300])
def test_numba_equals_torch_at_block_borders(neurons: int) -> None:
    given = some_texts(5, 40, neurons, levels=3)
    assert_same(reduced("numba", given), reduced("torch", given))


@pytest.mark.parametrize("kind", KINDS)
def test_no_cut_of_the_work_changes_anything(kind: str) -> None:
    given = some_texts(6, 50, levels=2)
    whole = reduced(kind, given)
    rng = np.random.default_rng(6)
    for batch in (1, 7, 50):
        shuffled = [given[i] for i in rng.permutation(len(given))]
        assert_same(reduced(kind, shuffled, batch), whole)
        cut = int(rng.integers(1, 49))
        parts = reduced(kind, shuffled[:cut]), reduced(kind, shuffled[cut:])
        assert_same(merge(*parts), whole)
        assert_same(merge(*reversed(parts)), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_negating_w_in_is_the_refactored_convention(kind: str) -> None:
    given = some_texts(7)
    negated = [(row, values | {q: -values[q] for q in (Quantity.IN, Quantity.POST)}) for row, values in given]
    sign = np.full(NEURONS, -1, np.int8)
    assert_same(refactor(reduced(kind, given), sign), reduced(kind, negated))
    mixed = np.where(np.arange(NEURONS) % 2, -1, 1).astype(np.int8)
    twice = refactor(refactor(reduced(kind, given), mixed), mixed)
    assert_same(twice, reduced(kind, given))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_values_are_taken_as_they_are(kind: str, dtype: torch.dtype) -> None:
    given = some_texts(8)
    rounded = [
        (row, {q: torch.from_numpy(v).to(dtype).float().numpy() for q, v in values.items()}) for row, values in given
    ]
    assert_is_brute_force(reduced(kind, given, dtype=dtype), rounded, K)


@pytest.mark.parametrize("kind", KINDS)
def test_zero_is_in_no_case_and_a_magnitude_of_zero_is_an_extreme(kind: str) -> None:
    gate = np.array([[0.0], [-0.0], [1.0], [1.0], [-90.0]], np.float32)
    in_ = np.array([[1.0], [1.0], [0.0], [-0.0], [2.0]], np.float32)
    act = np.array([[0.0], [-0.0], [0.7], [0.7], [-0.0]], np.float32)  # GELU of -90 is -0
    text = (3, dict(zip(QUANTITIES, (gate, in_, act, act * in_), strict=True)))
    summary = reduced(kind, [text])
    assert summary.count.tolist() == [[0, 0, 1, 0]]
    closed = (0, 2)
    assert summary.extreme_value[(*closed, Quantity.POST.index)].tolist()[0] == 0.0
    assert summary.extreme_example[(*closed, Quantity.POST.index)].tolist() == [3, -1, -1, -1]
    assert summary.extreme_position[(*closed, Quantity.ACT.index)].tolist() == [4, -1, -1, -1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_values_that_are_not_finite_are_refused(kind: str, bad: float, quantity: Quantity) -> None:
    given = some_texts(9, 6)
    given[3][1][quantity][0, 5] = bad
    with pytest.raises(ModelError, match="layer 1"):
        reduced(kind, given)


def test_a_layer_without_texts_is_empty() -> None:
    for kind in KINDS:
        summary = make_reducer(1, 3, 2, kind=kind).layer_summary(0)
        assert not summary.count.any()
        assert np.isnan(summary.extreme_value).all()


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_memory_runs_out_the_texts_can_be_run_again(kind: str) -> None:
    """Each piece that an update takes is missing once; what a reducer has counted until then, it would count twice."""
    rows, lengths = np.array([2, 0]), np.array([3, 4])
    reducer, reference = (make_reducer(1, NEURONS, K, kind=kind) for _ in range(2))
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        values = [torch.randn(7, NEURONS, generator=generator).half() for _ in QUANTITIES]
        values[1] = values[1].float()  # so that there is something to convert
        for at in range(1000):
            with RunsOut(at) as memory, suppress(torch.OutOfMemoryError):
                reducer.update(0, rows + seed, lengths, *values)
            if not memory.met:
                break
        assert at > 1
        reference.update(0, rows + seed, lengths, *values)
    assert_same(reducer.layer_summary(0), reference.layer_summary(0), rtol=0)


def test_a_layers_statistics_stay_on_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a model is spread over several GPUs; the second device here is the one that holds no values."""
    monkeypatch.setattr(reduce, "indices_on", lambda array, device: torch.from_numpy(np.asarray(array)).to(device))
    reducer = reduce.TorchReducer(2, NEURONS, K)
    values = [torch.ones(5, NEURONS) for _ in QUANTITIES]
    for _ in range(2):
        reducer.update(0, np.array([0, 1]), np.array([2, 3]), *values)
        reducer.update(1, np.array([0, 1]), np.array([2, 3]), *(value.to("meta") for value in values))
    for layer, device in enumerate(("cpu", "meta")):
        tensors = [value for value in vars(reducer._state[layer]).values() if isinstance(value, torch.Tensor)]
        assert len(tensors) == 5
        assert {tensor.device.type for tensor in tensors} == {device}

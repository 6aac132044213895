"""Lists of neurons: what they stand for, and how they become jobs."""

from __future__ import annotations

import random
import time
from itertools import chain

import pytest
from gluscope.config.keys import RunConfig
from gluscope.config.neurons import BATCH, FEW, WIDE, in_batch, listed_neurons, share_out
from gluscope.core.errors import ConfigError
from gluscope.core.neuron import NeuronId
from gluscope.core.ranges import as_ranges, from_ranges
from gluscope.core.size import LayerNeurons, Size
from hypothesis import given, settings
from hypothesis import strategies as st

OLMO = Size.dense(32, 11008)


def run(*neurons: str) -> RunConfig:
    return RunConfig(name="mine", model="m", dataset="d", neurons=list(neurons))


def test_each_neuron_is_listed_once_in_order() -> None:
    listed = listed_neurons(run("L1/N7", "L0/N10", "L0/N9", "L1/N7"), None)
    assert listed == {0: [9, 10], 1: [7]}


def test_stars_need_the_model() -> None:
    assert listed_neurons(run("L*/N1", "L1/N*"), Size.dense(2, 3)) == {0: [1], 1: [0, 1, 2]}
    with pytest.raises(ConfigError, match=r"run `snakemake results/mine/model.json` once"):
        listed_neurons(run("L1/N*"), None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("L32/N0", r"neurons: expected a layer from 0 to 31 \(the model has 32\), found layer 32"),
        ("L0/N11008", r"expected a neuron from 0 to 11007 \(each layer has 11008\), found neuron 11008"),
        ("L*/N11008", "found neuron 11008"),
        ("L32/N*", "found layer 32"),
    ],
)
def test_what_the_model_does_not_have_is_refused(text: str, told: str) -> None:
    assert listed_neurons(run("L31/N11007"), OLMO) == {31: [11007]}
    with pytest.raises(ConfigError, match=told):
        listed_neurons(run(text), OLMO)


def test_few_neurons_are_jobs_of_their_own() -> None:
    pages = share_out({0: list(range(FEW - 1)), 3: [5]})
    assert pages.batches == []
    assert pages.single[-1] == NeuronId(3, 5)
    assert len(pages.single) == FEW
    assert share_out({}).single == []


@given(st.dictionaries(st.integers(0, 3), st.sets(st.integers(0, 100_000), min_size=1, max_size=600), max_size=3))
def test_every_listed_neuron_is_in_exactly_one_job(sets: dict[int, set[int]]) -> None:
    listed = {layer: sorted(neurons) for layer, neurons in sorted(sets.items())}
    pages = share_out(listed)
    found = [str(neuron) for neuron in pages.single]
    for batch in pages.batches:
        neurons = in_batch(listed, batch)
        assert 0 < len(neurons) <= BATCH
        assert [wide.holds(batch) for wide in pages.wide].count(True) == 1
        found += [f"L{batch.layer}/N{neuron}" for neuron in neurons]
    assert sorted(found) == sorted(f"L{layer}/N{neuron}" for layer in listed for neuron in listed[layer])
    assert not (pages.single and pages.batches)


def test_a_longer_list_leaves_other_batches_as_they_are() -> None:
    listed = {layer: list(range(0, 11008, 3)) for layer in range(3)}
    longer = {**listed, 1: sorted({*listed[1], 1})}
    before, after = share_out(listed).batches, share_out(longer).batches
    assert before == after
    assert sum(in_batch(longer, batch) != in_batch(listed, batch) for batch in after) == 1


def test_all_neurons_of_a_large_model_can_be_asked_for() -> None:
    start = time.monotonic()
    batches = share_out(listed_neurons(run("L*/N*"), OLMO)).batches
    assert time.monotonic() - start < 5
    assert len(batches) == 32 * 43
    wide = share_out(listed_neurons(run("L5/N*"), OLMO)).wide
    assert list(map(str, wide)) == ["L5/N0-4095", "L5/N4096-8191", "L5/N8192-12287"]


@given(st.sets(st.integers(0, 30_000), min_size=FEW + 1, max_size=9000))
@settings(max_examples=20)
def test_what_is_recomputed_together_is_bounded_and_whole(neurons: set[int]) -> None:
    listed = {2: sorted(neurons)}
    parts = [in_batch(listed, batch) for batch in share_out(listed).wide]
    assert all(0 < len(part) <= WIDE for part in parts)
    assert list(chain(*parts)) == listed[2]


def test_a_thousand_scattered_neurons_are_few_jobs() -> None:
    rng = random.Random(0)
    names = {f"L{rng.randrange(32)}/N{rng.randrange(11008)}" for _ in range(1000)}
    assert len(share_out(listed_neurons(run(*names), OLMO)).batches) == 32


@given(st.sets(st.integers(0, 300)))
def test_ranges_and_back(numbers: set[int]) -> None:
    assert from_ranges(as_ranges(sorted(numbers))) == sorted(numbers)


def test_ranges_are_short() -> None:
    assert as_ranges([*range(256), 300, 302, 303]) == "0-255,300,302-303"


# One dense layer; one with a shared expert of 5 and 3 routed ones of 4; one with two shared ones and no others alike.
MIXTURE = Size(
    (LayerNeurons(10), LayerNeurons(shared=(5,), experts=3, each=4), LayerNeurons(shared=(2, 2), experts=2, each=3))
)


@pytest.mark.parametrize(
    ("pattern", "places"),
    [
        ("L0/N9", {0: [9]}),
        ("L1/ES/N4", {1: [4]}),
        ("L1/E0/N0", {1: [5]}),
        ("L1/E2/N3", {1: [16]}),
        ("L2/ES1/N1", {2: [3]}),
        ("L2/E1/N*", {2: [7, 8, 9]}),
        ("L*/N*", {0: list(range(10))}),
        ("L*/E*/N*", {1: list(range(5, 17)), 2: list(range(4, 10))}),
        ("L*/E*/N2", {1: [7, 11, 15], 2: [6, 9]}),
        ("L*/ES*/N*", {1: list(range(5)), 2: list(range(4))}),
        ("L*/ES/N0", {1: [0]}),
    ],
)
def test_neurons_of_experts(pattern: str, places: dict[int, list[int]]) -> None:
    assert listed_neurons(run(pattern), MIXTURE) == places


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("L1/N0", r"expected an expert from E0 to E2, or ES \(layer 1 is a mixture of experts\), found L1/N0, which"),
        ("L1/E3/N0", "expected an expert from E0 to E2, or ES .*, found E3"),
        ("L2/ES/N0", "from E0 to E1, or ES0 or ES1"),
        ("L0/E1/N0", r"expected a neuron such as L0/N0 \(layer 0 is no mixture of experts\), found E1"),
        ("L1/E1/N4", r"expected a neuron from 0 to 3 \(each expert has 4\), found neuron 4"),
        ("L1/E1/N9", "found neuron 9"),
        ("L*/E7/N0", "found L\\*/E7/N0, which names none"),
        ("L3/E0/N*", "found layer 3"),
    ],
)
def test_experts_that_the_model_does_not_have_are_refused(pattern: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        listed_neurons(run(pattern), MIXTURE)
    with pytest.raises(ConfigError, match=r"run `snakemake results/mine/model.json` once"):
        listed_neurons(run("L1/E1/N4"), None)


def test_every_place_of_a_mixture_has_a_name() -> None:
    for layer, neurons in enumerate(MIXTURE.layers):
        found = [MIXTURE.neuron(layer, place) for place in range(neurons.count)]
        assert found == sorted(set(found)) == [NeuronId.parse(str(neuron)) for neuron in found]
        assert [MIXTURE.place(neuron) for neuron in found] == list(range(neurons.count))
        with pytest.raises(IndexError):
            MIXTURE.neuron(layer, neurons.count)
    assert share_out({2: [0, 9]}, MIXTURE).single == [NeuronId(2, 0, "ES0"), NeuronId(2, 2, "E1")]


@pytest.mark.parametrize("text", ["L1/E/N0", "L1/E01/N0", "L1/ES01/N0", "L1/EX/N0", "L1/E1N0", "L1/E1/", "L-1/E1/N0"])
def test_what_is_no_name_of_a_neuron(text: str) -> None:
    with pytest.raises(ValueError, match="not a neuron"):
        NeuronId.parse(text)

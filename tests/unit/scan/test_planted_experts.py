"""What a scan must find of experts where the answer is known beforehand: a planted neuron, an expert that no token
reaches, a first token that is skipped."""

from __future__ import annotations

import numpy as np
import pytest
from gluscope.cache.reader import CacheReader
from gluscope.core.cases import CASES, QUANTITIES
from gluscope.summary.file import SummaryReader
from helpers.brute_scan import copies_in
from helpers.planted_expert import GATE, IN, PLANTED, POST, UNREACHED, Planted, plant
from helpers.scan_case import K

_DRIVEN, BOS = 1, 0  # the case gate+ in-; the id
_VALUES = {"gate": GATE, "in": IN, "post": POST}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    made = plant(tmp_path_factory.mktemp("planted"))
    for name, how in (("numba", {}), ("torch", {}), ("skipped", {"skip_tokens": ["bos"]})):
        folder, how = made.case.folder.parent, {"reducer": "torch" if name == "torch" else "numba"} | how
        made.case.scan(folder / f"{name}.zarr.zip", cache=folder / f"{name}.zarr", **how)
    return made


def scanned(planted: Planted, name: str) -> SummaryReader:
    return SummaryReader(planted.case.folder.parent / f"{name}.zarr.zip")


@pytest.mark.parametrize("name", ["numba", "torch", "skipped"])
def test_a_planted_neuron_is_found_as_planted_and_in_no_other_expert(planted: Planted, name: str) -> None:
    place = planted.case.spec.size.place(PLANTED)
    layer = scanned(planted, name).layer(PLANTED.layer)
    assert layer.count[place].tolist() == [0, len(planted.at), 0, 0]
    act = len(planted.at) * np.array([GATE, IN, GATE, POST])
    np.testing.assert_allclose(layer.sum[place], [np.zeros(4), act, np.zeros(4), np.zeros(4)], rtol=1e-6)
    first = {row: at for row, at in reversed(planted.at) if row not in copies_in(planted.case.ids)}
    rows = sorted(first)[:K]
    assert len(rows) == K
    for case, quantity in np.ndindex(len(CASES), len(QUANTITIES)):
        at = place, case, quantity
        if case == _DRIVEN and QUANTITIES[quantity] in CASES[case].listed:
            np.testing.assert_allclose(layer.extreme_value[at], _VALUES[QUANTITIES[quantity].value], rtol=1e-6)
            assert layer.extreme_example[at].tolist() == rows
            assert layer.extreme_position[at].tolist() == [first[row] for row in rows]
        else:
            unfilled(layer.extreme_value[at], layer.extreme_example[at], layer.extreme_position[at])
    largest = np.nanmax(np.abs(np.nan_to_num(layer.extreme_value)), axis=(1, 2, 3))
    assert np.flatnonzero(largest > abs(POST) / 10).tolist() == [place]


@pytest.mark.parametrize("name", ["numba", "torch"])
def test_the_planted_tokens_and_only_they_are_in_the_sample(planted: Planted, name: str) -> None:
    reader, place = scanned(planted, name), planted.case.spec.size.place(PLANTED)
    sample, layer, there = reader.sample(), reader.layer(PLANTED.layer), set(planted.at)
    for at, token in enumerate(zip(sample.example.tolist(), sample.position.tolist(), strict=True)):
        values = layer.sample_gate[place, at], layer.sample_in[place, at]
        reaches = int(PLANTED.expert[1:]) in planted.reach[1](planted.case.ids[token[0]][token[1]])
        expected = ((GATE, IN) if token in there else (0.0, 0.0)) if reaches else (np.nan, np.nan)
        np.testing.assert_array_equal(values, expected)
    assert there & set(zip(sample.example.tolist(), sample.position.tolist(), strict=True))


@pytest.mark.parametrize("name", ["numba", "torch", "skipped"])
def test_tokens_sent_to_each_expert_are_those_of_the_planted_router(planted: Planted, name: str) -> None:
    """Every neuron with random weights has each token that reaches its expert in one case."""
    reader, size = scanned(planted, name), planted.case.spec.size
    tokens = [token for ids in planted.case.ids for token in ids if name != "skipped" or token != BOS]
    routed = reader.routed()
    assert routed is not None
    for layer, reach in planted.reach.items():
        sent = [expert for token in tokens for expert in reach(token)]
        assert routed[layer].tolist() == [sent.count(expert) for expert in range(routed.shape[1])]
        counts = reader.layer(layer).count.sum(1)
        for stretch in size.layers[layer].stretches():
            of = counts[stretch.begin : stretch.end]
            random = (
                np.arange(stretch.begin, stretch.end) != size.place(PLANTED) if layer == PLANTED.layer else slice(None)
            )
            assert set(of[random].tolist()) == {sent.count(int(stretch.expert[1:]))}
    assert (routed[PLANTED.layer] > 0).tolist() == [True, True, True, True, True, False]


@pytest.mark.parametrize("name", ["numba", "torch", "skipped"])
def test_an_expert_that_no_token_reaches_has_nothing(planted: Planted, name: str) -> None:
    reader = scanned(planted, name)
    layer, own = reader.layer(UNREACHED.layer), planted.case.spec.size.layers[UNREACHED.layer].stretch(UNREACHED.expert)
    routed = reader.routed()
    assert own is not None
    assert routed is not None
    assert routed[UNREACHED.layer, int(UNREACHED.expert[1:])] == 0
    of = slice(own.begin, own.end)
    assert not layer.count[of].any()
    assert not layer.sum[of].any()
    unfilled(layer.extreme_value[of], layer.extreme_example[of], layer.extreme_position[of])
    assert np.isnan(layer.sample_gate[of]).all()
    assert np.isnan(layer.sample_in[of]).all()


def unfilled(value: np.ndarray, example: np.ndarray, position: np.ndarray) -> None:
    assert np.isnan(value).all()
    assert (example == -1).all()
    assert (position == -1).all()


def test_a_skipped_first_token_is_missing_once_a_text_in_the_experts_that_it_reaches(planted: Planted) -> None:
    """Nothing comes before it, so the router sends it to the same experts in every text, in every layer."""
    whole, skipped = scanned(planted, "numba"), scanned(planted, "skipped")
    texts, spec = len(planted.case.ids), planted.case.spec
    assert all(ids[0] == BOS and BOS not in ids[1:] for ids in planted.case.ids)
    before, after = whole.routed(), skipped.routed()
    assert before is not None
    assert after is not None
    assert spec.mixture is not None
    gone = before - after
    for layer in range(spec.n_layers):
        reached = np.flatnonzero(gone[layer])
        assert len(reached) == spec.mixture.chosen
        assert (gone[layer, reached] == texts).all()
        one, other = whole.layer(layer), skipped.layer(layer)
        lost = one.count - other.count
        assert set(np.unique(lost)) <= {0, texts}
        for stretch in spec.size.layers[layer].stretches():
            missing = set(lost[stretch.begin : stretch.end].sum(1).tolist())
            expected = gone[layer, int(stretch.expert[1:])]
            if (layer, stretch.expert) == (PLANTED.layer, PLANTED.expert):
                missing.discard(0)  # the planted neuron has gate 0 at all other tokens
                assert missing <= {expected}
            else:
                assert missing == {expected}
        assert not (other.extreme_position == 0).any()
        assert (one.extreme_position == 0).any()


def test_the_cache_says_where_skipped_tokens_were_sent(planted: Planted) -> None:
    """It has x of every token, and so the router's choice."""
    folder, spec = planted.case.folder.parent, planted.case.spec
    with CacheReader(folder / "numba.zarr") as one, CacheReader(folder / "skipped.zarr") as other:
        for layer, row, expert in np.ndindex(spec.n_layers, 5, 6):
            np.testing.assert_array_equal(
                one.router_weight(layer, row, expert), other.router_weight(layer, row, expert)
            )

"""Laws of a page's record, and its numbers against what it was built from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gluscope.core.cases import CASES, LISTS, QUANTITIES, Quantity
from gluscope.core.convention import CONVENTIONS
from gluscope.core.errors import WrongFile
from gluscope.page.headline import headline, peaks, plain
from gluscope.page.numbers import number, percent
from gluscope.page.record import NeuronPage
from gluscope.page.tokens import TokenKind
from helpers.pages import HOSTILE, READABLE, Made, Rows, make, tokenizer, weights


@pytest.fixture(scope="module")
def made() -> Made:
    return make()


@pytest.fixture(scope="module")
def page(made: Made) -> NeuronPage:
    return made.build(weights=weights(41))


def same(left: NeuronPage, right: NeuronPage) -> None:
    assert left.cases == right.cases
    assert left.window() == right.window()
    assert np.array_equal(left.sample.in_, right.sample.in_)


@pytest.mark.parametrize("convention", ["raw", "refactored"])
def test_every_value_has_the_sign_of_its_case(made: Made, convention: str) -> None:
    page = made.build(convention=convention)
    for case, quantity in LISTS:
        assert page.cases[case].extreme[quantity], "the case is not empty"
        for place in page.cases[case].extreme[quantity]:
            here = page.values(place.example)
            assert np.sign(place.value) == case.sign(quantity)
            assert here[quantity][place.position] == pytest.approx(place.value, rel=1e-6)
            assert {q: np.sign(here[q][place.position]) for q in QUANTITIES} == {q: case.sign(q) for q in QUANTITIES}


def test_counts_means_and_frequencies(made: Made, page: NeuronPage) -> None:
    gate, in_ = np.concatenate(made.gate).astype(float), np.concatenate(made.in_).astype(float)
    post = gate / (1 + np.exp(-gate)) * in_
    assert sum(page.cases[case].count or 0 for case in CASES) == np.sum((gate != 0) & (in_ != 0)) == len(gate) - 1
    for case in CASES:
        inside = (np.sign(gate) == case.gate_sign) & (np.sign(in_) == case.in_sign)
        stats = page.cases[case]
        assert stats.count == inside.sum()
        assert stats.frequency == pytest.approx(inside.mean())
        assert stats.mean[Quantity.POST] == pytest.approx(post[inside].mean(), rel=1e-5)
        assert stats.mean[Quantity.IN] == pytest.approx(in_[inside].mean(), rel=1e-5)
        assert abs(stats.extreme[Quantity.POST][0].value) == pytest.approx(np.abs(post[inside]).max(), rel=1e-5)


def test_conventions_turn_into_each_other(made: Made, page: NeuronPage) -> None:
    turned = page.in_convention("refactored")
    same(turned, made.build(convention="refactored"))
    same(turned.in_convention("raw"), page)
    for case in CASES:
        assert turned.cases[case].count == page.cases[case.flipped].count
        assert turned.cases[case].mean[Quantity.GATE] == page.cases[case.flipped].mean[Quantity.GATE]
    assert made.build(sign=1).in_convention("refactored").cases == page.cases
    with pytest.raises(ValueError, match="not a convention"):
        page.in_convention("other")


def test_an_empty_case_has_no_mean() -> None:
    made = make(texts=3)
    positive = [np.abs(values) + np.float32(0.1) for values in made.in_]
    recomputed = replace(made.arguments["recomputed"], in_=np.concatenate(positive))
    from helpers.pages import summarise

    places = list(zip(made.sample.example.tolist(), made.sample.position.tolist(), strict=True))
    page = made.build(recomputed=recomputed, summary=summarise(made.gate, positive, 4, places))
    for case in CASES:
        if case.in_sign < 0:
            stats = page.window()["cases"][case.value]
            assert stats["count"] == 0
            assert stats["frequency"] == 0
            assert set(stats["mean"].values()) == {None}
            assert all(places == [] for places in stats["extreme"].values())
    assert "Strongest" in plain(headline(page))


def test_no_tokens_at_all() -> None:
    from gluscope.summary.types import LayerSummary, SampleTokens
    from helpers.pages import of_texts

    none = np.zeros(0, np.int64)
    page = make().build(
        summary=LayerSummary.empty(1, 4), sample=SampleTokens(none, none), dataset=Rows([], []), tokens=0,
        recomputed=of_texts(none, none, none.astype(np.float32), none.astype(np.float32)),
    )  # fmt: skip
    assert page.cases[CASES[0]].frequency is None
    assert page.provenance.difference is None
    assert "No token" in plain(headline(page))


def test_window_has_the_documented_keys(page: NeuronPage) -> None:
    window = page.window()
    assert set(window) == {"run", "layer", "neuron", "convention", "cases", "examples"}
    assert (window["run"], window["layer"], window["neuron"], window["convention"]) == ("demo", 1, 7, "raw")
    for case in CASES:
        assert set(window["cases"][case.value]) == {"count", "frequency", "mean", "extreme"}
        lists = window["cases"][case.value]["extreme"]
        assert set(lists) == ({"gate", "in", "post"} if case.gate_sign > 0 else {"gate", "in", "act", "post"})
        assert set(lists["post"][0]) == {"value", "example", "position"}
    for example in window["examples"].values():
        assert {len(values) for values in example.values()} == {len(example["tokens"])}


def test_the_largest_difference_is_found(made: Made) -> None:
    assert made.build().provenance.difference == pytest.approx(0, abs=1e-6)
    place = made.build().cases[CASES[0]].extreme[Quantity.GATE][0]
    recomputed = made.arguments["recomputed"]
    gate = recomputed.gate.copy()
    gate[int(recomputed.lengths[: place.example].sum()) + place.position] += 0.5
    off = made.build(recomputed=replace(recomputed, gate=gate)).provenance
    assert off.difference is not None
    assert 0.5 <= off.difference < 2.5
    assert off.relative_difference is not None
    assert off.relative_difference >= 0.5 / abs(place.value) * 0.999


def test_provenance_says_where_the_values_come_from(made: Made) -> None:
    known = made.build().provenance
    assert (known.source, known.cache_dtype, known.tokens, known.k) == ("cache", "float16", 518, 4)
    new = made.build(recomputed=replace(made.arguments["recomputed"], source="model", dtype="float32")).provenance
    assert (new.source, new.cache_dtype) == ("model", "")


def test_texts_that_do_not_fit_are_refused(made: Made) -> None:
    recomputed = made.arguments["recomputed"]
    fewer = int(recomputed.lengths[:-1].sum())
    missing = replace(recomputed, rows=recomputed.rows[:-1], lengths=recomputed.lengths[:-1],
                      gate=recomputed.gate[:fewer], in_=recomputed.in_[:fewer])  # fmt: skip
    with pytest.raises(WrongFile, match="expected text 11 of its lists, found none"):
        made.build(recomputed=missing)
    shorter = Rows([made.rows.ids[0][:-1], *made.rows.ids[1:]], made.rows.source)
    with pytest.raises(WrongFile, match="tokens in text 0"):
        made.build(dataset=shorter)


def test_sampled_tokens_come_with_their_context(made: Made, page: NeuronPage) -> None:
    for i, (row, position) in enumerate(zip(made.sample.example, made.sample.position, strict=True)):
        context, at = page.sample.contexts.tokens[i], page.sample.contexts.at[i]
        assert context[at] == page.examples[row].tokens[position]
        assert len(context) <= 12
    assert page.examples[0].tokens[0].kind is TokenKind.SPECIAL


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (1.5614, "+1.56"), (-0.67749, "−0.677"), (0.0512, "+0.0512"), (12.345, "+12.3"),
     (-123.4, "−123"), (1e-9, "+1.00e-9"), (0.9996, "+1.00"), (99999.0, "+1.00e+5"), (2.125, "+2.13"), (999.6, "+1000"),
     (1234.5, "+1235"), (9999.9, "+10000"), (0.0009999, "+1.00e-3")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value, plus=True) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "unknown"), (0.0, "0 %"), (0.5, "50 %"), (0.4732, "47.3 %"), (0.0084, "0.84 %"), (1e-5, "0.0010 %"),
     (1e-8, "< 0.0001 %"), (1.0, "100 %")],
)  # fmt: skip
def test_shares_read_as_percent(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_the_headline_names_the_token_where_its_value_is() -> None:
    """Few different words, so that the token of the largest value is often not the most frequent of its list."""
    several = 0
    for seed in range(12):
        page = make(seed=seed, texts=12, length=40, k=6, words=(" a", " be", " is", "ing", " no")).build()
        for view in map(page.in_convention, CONVENTIONS):
            parts, ranked = headline(view), peaks(view)
            shown = [
                (before.text, part.text)
                for before, at, part in zip(parts, parts[1:], parts[2:], strict=False)
                if at.text == " at "
            ]
            other = next(peak for peak in ranked if peak.value * ranked[0].value < 0)
            assert shown == [(number(peak.value, plus=True), peak.token) for peak in (ranked[0], other)]
            for peak in ranked:
                places = view.cases[peak.case].extreme[Quantity.POST]
                texts = [view.examples[place.example].tokens[place.position].text for place in places]
                values = view.values(places[0].example)[Quantity.POST]
                assert peak.value == pytest.approx(float(values[places[0].position]), rel=1e-5)
                assert (peak.token, peak.times) == (texts[0], texts.count(texts[0]))
                assert peak.most == texts.count(peak.frequent) == max(map(texts.count, texts))
                several += peak.most > peak.times
    assert several > 5, "cases that tell the two tokens apart"


def test_skipped_tokens_stand_in_the_text_without_a_value(made: Made, page: NeuronPage) -> None:
    texts = tokenizer(HOSTILE + READABLE)
    texts._skipped = frozenset({0, 5})
    found, before = made.build(texts=texts, convention="refactored"), page.in_convention("refactored")
    assert found.cases == before.cases
    for row, example in found.examples.items():
        none = np.isin(made.rows.ids[row], (0, 5))
        whole, shown = before.window()["examples"][str(row)], found.window()["examples"][str(row)]
        assert example.skipped.tolist() == none.tolist()
        assert shown["tokens"] == whole["tokens"]
        for quantity in QUANTITIES:
            values = zip(none, whole[quantity.value], strict=True)
            assert shown[quantity.value] == [None if unknown else value for unknown, value in values]
            assert (found.values(row)[quantity][none] == 0).all()

"""The published neuron L5/N10602 of OLMo-7B-0424 as a record, against its own page. Needs ../shared/data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gluscope.core.cases import CASES, LISTS, QUANTITIES, Quantity, SignCase
from gluscope.core.errors import StoreError
from gluscope.core.neuron import NeuronId
from gluscope.page.build import largest_difference
from gluscope.page.headline import peaks
from gluscope.page.record import NeuronPage
from gluscope.page.render import render_page
from helpers.published_neuron import unpacked
from helpers.published_site import read_published


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def page(folder: Path) -> NeuronPage:
    return read_published(folder, NeuronId(5, 10602), run="olmo-7b-0424")


def test_numbers_agree_with_the_published_table(page: NeuronPage, folder: Path) -> None:
    html = (folder / "vis.html").read_text(encoding="utf-8")
    shares = re.findall(r"Frequency: <b>(.*?)%", html)
    for case, share in zip(CASES, shares, strict=True):
        assert page.cases[case].frequency == pytest.approx(float(share) / 100)
    for quantity in QUANTITIES:
        cells = re.findall(
            rf"<b>{quantity.hook}</b>:<br>\s*Max: <b>(.*?)</b>;<br>\s*Min: <b>(.*?)</b>;<br>\s*Avg: <b>(.*?)</b>", html
        )
        for case, (high, low, mean) in zip(CASES, cells, strict=True):
            stats = page.cases[case]
            assert stats.mean[quantity] == float(mean)
            if quantity in case.listed:
                shown = f"{stats.extreme[quantity][0].value:.2f}"
                assert shown == (high if case.sign(quantity) > 0 else low)


def test_every_list_is_full_and_signed(page: NeuronPage) -> None:
    for case, quantity in LISTS:
        places = page.cases[case].extreme[quantity]
        assert len(places) == 16
        assert [abs(place.value) for place in places] == sorted((abs(place.value) for place in places), reverse=True)
        for place in places:
            here = page.values(place.example)
            assert here[quantity][place.position] == pytest.approx(place.value, rel=1e-5)
            assert here[Quantity.GATE][place.position] * case.gate_sign > 0
            assert here[Quantity.IN][place.position] * case.in_sign > 0


def test_act_and_post_follow_from_gate_and_in(page: NeuronPage) -> None:
    absolute, relative = largest_difference(page)
    assert absolute is not None
    assert absolute < 1e-5
    assert relative is not None
    assert relative < 1e-5


def test_it_fires_at_arenas_and_the_other_way_at_dont(page: NeuronPage) -> None:
    first, second = peaks(page)[:2]
    assert (first.case, first.token, first.times) == (SignCase.GATE_POS_IN_POS, " aren", 16)
    assert (second.case, second.token) == (SignCase.GATE_POS_IN_NEG, " don")


def test_one_file_instead_of_225(page: NeuronPage) -> None:
    html = render_page(page)
    assert len(html.encode()) < 600_000
    assert "Gate open on <strong>1.27 %</strong>" in html


def test_no_switch_to_a_convention_that_nobody_knows(page: NeuronPage) -> None:
    html = render_page(page)
    assert "convention=raw" not in html
    assert "sign is not known" in html


def test_a_folder_without_its_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="a published page's table"):
        read_published(tmp_path, NeuronId(0, 0), run="x")

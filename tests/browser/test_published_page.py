"""The published neuron's page as a reader sees it, against its own vis.html. Needs ../shared/data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gluscope.core.cases import CASES, QUANTITIES
from gluscope.core.neuron import NeuronId
from gluscope.page.render import render_page
from helpers.published_neuron import unpacked
from helpers.published_site import read_published

Open = Callable[..., Any]


def test_numbers_shown_are_those_of_vis_html(open_page: Open, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "published")
    vis = (folder / "vis.html").read_text(encoding="utf-8")
    path = tmp_path / "N10602.html"
    path.write_text(render_page(read_published(folder, NeuronId(5, 10602), run="olmo-7b-0424")), encoding="utf-8")
    tab = open_page(path)
    shares = [float(share) for share in re.findall(r"Frequency: <b>([\d.]+)%</b>", vis)]
    for case, share in zip(CASES, shares, strict=True):
        card = tab.locator(f'.card[data-case="{case.value}"]')
        assert float(card.locator(".share").inner_text().removesuffix(" %")) == pytest.approx(share, abs=0.05)
    for quantity in QUANTITIES:
        cells = re.findall(rf"<b>{quantity.hook}</b>:<br>(.*?)</td>", vis, re.DOTALL)
        for case, cell in zip(CASES, cells, strict=True):
            table = {name: float(value) for name, value in re.findall(r"(\w+): <b>([-\d.]+)</b>", cell)}
            card = tab.locator(f'.card[data-case="{case.value}"]')
            mean, extreme = (
                float(card.locator(f'[data-stat="{name}-{quantity.value}"]').inner_text().replace("−", "-"))
                for name in ("mean", "extreme")
            )
            assert mean == table["Avg"]
            assert extreme == pytest.approx(table["Max" if case.sign(quantity) > 0 else "Min"], abs=0.00501)
    assert tab.locator("#list .place a").first.inner_text().startswith("text "), "rows of the data set are not known"
    assert "+1.56 at ·aren in arenas (all of the top 16;" in tab.inner_text("#headline")

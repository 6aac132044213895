"""The start page of a model with so many neurons that its finder reads the layers that are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.cases import CASES, LISTS, Quantity
from gluscope.page.site import render_index
from helpers.finder_data import Model, model

Open = Callable[..., Any]
LAYERS, NEURONS = 20, 24_000
AT_FIRST = 400_000 // NEURONS


@pytest.fixture(scope="module")
def made() -> Model:
    """Three different layers, again and again."""
    few = model(layers=3, neurons=NEURONS, words=tuple(f" w{i}" for i in range(40)), k=2)
    turn = [layer % 3 for layer in range(LAYERS)]
    return Model(few.words, few.rows, [few.summaries[i] for i in turn], [few.weights[i] for i in turn])


@pytest.fixture(scope="module")
def site(made: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    finder = made.write(folder)
    assert finder["rows"] == LAYERS * NEURONS > 400_000
    html = render_index(run="demo", model="m", n_layers=LAYERS, d_mlp=NEURONS, cards=[], finder=finder)
    (folder / "index.html").write_text(html, encoding="utf-8")
    return folder / "index.html"


def layers_read(tab: Any) -> list[int]:
    """Layers whose columns the page has, in the order in which it read them."""
    found: list[int] = tab.evaluate("[...site.table.read]")
    return found


def rows(tab: Any) -> list[tuple[int, int]]:
    cells = [tab.locator(f"#finder-table tbody td:nth-child({column})").all_inner_texts() for column in (1, 2)]
    return [(int(layer), int(neuron.removeprefix("N"))) for layer, neuron in zip(*cells, strict=True)]


def strongest(made: Model, layers: range) -> list[tuple[int, int]]:
    """The hundred neurons with the strongest posts."""
    post = np.stack([made.summaries[n].extreme_value[..., Quantity.POST.index, 0] for n in layers])
    size = np.abs(np.nan_to_num(post).astype(np.float16)).max(axis=2)
    order = np.argsort(-size.ravel(), kind="stable")[:100]
    return [(layers[int(place) // NEURONS], int(place) % NEURONS) for place in order]


def test_layers_are_read_as_they_are_asked_for(open_page: Open, site: Path, made: Model) -> None:
    tab = open_page(site, ready="html.finder-ready")
    loaded = tab.evaluate("performance.getEntriesByName('finder-ready')[0].startTime")
    print(f"usable after {loaded:.0f} ms")
    assert layers_read(tab) == list(range(AT_FIRST))
    assert (tab.input_value("[name=from]"), tab.input_value("[name=to]")) == ("0", str(AT_FIRST - 1))
    first = f"{AT_FIRST * NEURONS:,}"
    assert tab.inner_text("#finder-found") == f"{first} of {first} neurons that are read, of {LAYERS * NEURONS:,}"
    assert rows(tab) == strongest(made, range(AT_FIRST))

    tab.get_by_role("button", name="layer 18: not read").click()
    tab.get_by_role("button", name=f"layer 18: {NEURONS} neurons").wait_for()
    assert layers_read(tab) == [*range(AT_FIRST), 18]
    assert rows(tab) == strongest(made, range(18, 19))
    assert "from=18&to=18" in tab.url
    again = open_page(site, "#" + tab.url.partition("#")[2], ready="html.finder-ready")
    assert layers_read(again) == [18]
    assert rows(again) == rows(tab)

    tab.click("#finder-all")
    tab.locator("#finder-found", has_text=f"{LAYERS * NEURONS:,} neurons").wait_for()
    assert sorted(layers_read(tab)) == list(range(LAYERS))
    assert rows(tab) == strongest(made, range(LAYERS))
    assert tab.locator("#finder-unread").is_hidden()
    assert f"to={LAYERS - 1}" in tab.url
    tab.click("#finder-reset")
    tab.locator("#finder-found", has_text=f"{first} of").wait_for()
    assert rows(tab) == strongest(made, range(AT_FIRST))


def test_a_token_is_searched_in_layers_that_are_not_read(open_page: Open, site: Path, made: Model) -> None:
    """Which are then a click away."""
    tab = open_page(site, ready="html.finder-ready")
    tab.fill("#ask-times", "2")
    tab.fill("#search", "w7")
    answers = [_answering(made, layer, 8) for layer in range(LAYERS)]
    read, unread = sum(map(len, answers[:AT_FIRST])), sum(map(len, answers[AT_FIRST:]))
    said = f"{read:,} neurons (and up to {unread:,} in layers that are not read) by 1 token"
    tab.locator("#asked", has_text=said).wait_for()
    tab.get_by_role("button", name=f"layer 19: up to {len(answers[19]):,} neurons").click()
    tab.locator("#finder-found", has_text=f"{len(answers[19]):,} of").wait_for()
    assert {neuron for _, neuron in rows(tab)} <= answers[19]


def test_the_lists_of_any_neuron_are_there(open_page: Open, site: Path, made: Model) -> None:
    """They lie in several files a layer."""
    tab = open_page(site, "#from=18&to=18&sort=neuron", ready="html.finder-ready")
    for order, layer, neuron in (("descending", 18, NEURONS - 1), ("ascending", 18, 0)):
        if order == "ascending":
            tab.get_by_role("button", name="neuron", exact=True).click()
        assert rows(tab)[0] == (layer, neuron)
        tab.locator("#finder-table tbody button:has-text('tokens')").first.click()
        tab.locator(".own-lists dl").wait_for()
        shown = tab.locator(".own-lists dl div").all_inner_texts()
        summary, said = made.summaries[layer], [text for text in shown if not text.startswith("w_")]
        filled = sum(bool(summary.extreme_example[neuron, c.index, q.index, 0] >= 0) for c, q in LISTS)
        assert len(said) == filled
        for case in CASES:
            at = (neuron, case.index, Quantity.POST.index, 0)
            if summary.extreme_example[at] >= 0:
                token = made.rows.ids[summary.extreme_example[at]][summary.extreme_position[at]]
                label = f"post {case.value.replace('_', ' ').replace('-', '−')}"
                assert f"w{token - 1} " in next(text for text in said if text.startswith(label))


def _answering(made: Model, layer: int, token: int) -> set[int]:
    """Neurons of which some list has a token at both its places."""
    summary, found = made.summaries[layer], set()
    for case, quantity in LISTS:
        at = (slice(None), case.index, quantity.index)
        example, position = summary.extreme_example[at], summary.extreme_position[at]
        ids = np.stack([np.asarray(row) for row in made.rows.ids])[example, position]
        found.update(np.flatnonzero(((ids == token) & (example >= 0)).sum(axis=1) >= 2).tolist())
    return found

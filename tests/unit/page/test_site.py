"""The start page's text and the cards it is made of."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gluscope.core.errors import StoreError
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.page.pack import from_text
from gluscope.page.render import CARD, card, render_page
from gluscope.page.site import existing_pages, read_card, read_cards, render_index
from gluscope.workflow.submitted import own_config
from helpers.pages import make


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A run's site with two pages, a file that is none, and one whose name is none."""
    monkeypatch.chdir(tmp_path)
    page = make().build()
    paths = RunPaths("demo")
    for neuron in (NeuronId(0, 12), NeuronId(1, 7)):
        file = Path(f"{paths.site}/{neuron}.html")
        file.parent.mkdir(parents=True)
        file.write_text(render_page(replace(page, id=neuron)), encoding="utf-8")
    Path(f"{paths.site}/L1/Nx.html").write_text("no page")
    return card(page)


def test_pages_that_exist_are_found_in_order(site: dict[str, Any]) -> None:
    assert existing_pages("demo") == [NeuronId(0, 12), NeuronId(1, 7)]
    assert read_cards("demo") == [{**site, "layer": 0, "neuron": 12}, site]
    assert read_cards("demo", [NeuronId(1, 7)]) == [site]


def test_a_page_that_is_damaged_or_another_neurons_is_refused(site: dict[str, Any]) -> None:
    page, other = (Path(f"results/demo/site/{name}.html") for name in ("L1/N7", "L0/N12"))
    whole = page.read_text(encoding="utf-8")
    damaged = [
        "no page",
        '<script type="application/json" id="card">{"layer": 1</script>',
        whole.replace('"headline": "', '"headline": "x', 1),
        other.read_text(encoding="utf-8"),
    ]
    for text in damaged:
        page.write_text(text, encoding="utf-8")
        with pytest.raises(StoreError, match=r"N7\.html: the page's head: expected") as caught:
            read_cards("demo")
        assert caught.value.redo == (str(page),)


def test_a_page_of_an_earlier_version_is_read(site: dict[str, Any]) -> None:
    """Its card has no checksum."""
    page = Path("results/demo/site/L1/N7.html")
    text = re.sub(r', "checksum": "\w+"', "", page.read_text(encoding="utf-8")).replace(f'"kind": "{CARD}", ', "", 1)
    page.write_text(text, encoding="utf-8")
    assert read_card(page, NeuronId(1, 7)) == site


def test_without_javascript_the_index_lists_its_pages(site: dict[str, Any]) -> None:
    html = render_index(run="demo<b>", model="org/model", n_layers=2, d_mlp=48, cards=[site], facts=[("tokens", "5 k")])
    assert '<a href="L1/N7.html">L1/N7</a>' in html
    assert "demo&lt;b&gt;" in html
    assert "2 layers of 48 neurons · tokens 5 k" in html


@pytest.mark.parametrize(
    ("files", "options"),
    [([], ""), (["mine.yaml"], " --configfile mine.yaml"), (["a b", "c"], " --configfile 'a b' c")],
)
def test_commands_name_the_users_config(files: list[str], options: str) -> None:
    assert own_config(files) == options
    html = render_index(run="demo", model="m", n_layers=2, d_mlp=48, cards=[], options=options)
    block = re.split(r'id="data">([^<]*)', html)[1]
    data = json.loads(gzip.decompress(from_text(block)))
    assert f"{data['make']}/L0/N1.html{data['options']}" == f"snakemake --cores 2 results/demo/site/L0/N1.html{options}"


def test_an_index_without_pages() -> None:
    assert "0" in render_index(run="demo", model="m", n_layers=2, d_mlp=48, cards=[])

"""The start page of a run's site: all neurons that have a page, and the way to the next one."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gluscope.core.paths import NeuronId, RunPaths
from gluscope.page.bundle import START_PAGE
from gluscope.page.command import SNAKEMAKE
from gluscope.page.pack import as_text
from gluscope.page.render import ICON, environment, sha256, visible

_CARD = re.compile(rb'<script type="application/json" id="card">(.*?)</script>', re.DOTALL)
_HEAD_BYTES = 65_536


def read_card(path: str | Path) -> dict[str, Any] | None:
    """What a page's head says of its neuron (see `render.card`); None for a file that is no neuron page."""
    with open(path, "rb") as file:
        found = _CARD.search(file.read(_HEAD_BYTES))
    try:
        card = json.loads(found[1]) if found else None
        return card if isinstance(card, dict) and {"layer", "neuron", "headline"} <= card.keys() else None
    except ValueError:
        return None


def existing_pages(run: str) -> list[NeuronId]:
    """Neurons of a run whose page exists, in order."""
    found = []
    for path in Path(RunPaths(run).site).glob("L*/N*.html"):
        try:
            found.append(NeuronId.parse(f"{path.parent.name}/{path.stem}"))
        except ValueError:
            continue
    return sorted(found)


def read_cards(run: str, neurons: Iterable[NeuronId] | None = None) -> list[dict[str, Any]]:
    """The cards of these neurons' pages, by default of all that exist."""
    paths = RunPaths(run)
    chosen = existing_pages(run) if neurons is None else sorted(neurons)
    cards = (read_card(paths.page(neuron.layer, neuron.neuron)) for neuron in chosen)
    return [card for card in cards if card is not None]


def render_index(
    *,
    run: str,
    model: str,
    n_layers: int,
    d_mlp: int,
    cards: Sequence[dict[str, Any]],
    facts: Sequence[tuple[str, str]] = (),
    finder: dict[str, Any] | None = None,
    command: str = SNAKEMAKE,
    options: str = "",
) -> str:
    """The HTML text of a site's index.html.

    model: what it is called (`core.names.public_name`). cards: as `read_cards` gives them. facts: what else to say of
    the run, e.g. ("data set", "dolma-small"). finder: what `finder.write_finder` returned, if the site has data of all
    neurons. command: what the user types before a page's path to have it made. options: what stands behind it (see
    `command.own_config`).
    """
    data = {"run": run, "n_layers": n_layers, "d_mlp": d_mlp, "cards": list(cards), "finder": finder,
            "make": f"{command} {RunPaths(run).site}", "options": options}  # fmt: skip
    script, style = START_PAGE.script, START_PAGE.style
    return environment().get_template("index.html.j2").render(
        run=visible(run),
        icon=ICON,
        description=f"{len(cards)} pages of {n_layers * d_mlp:,} gated MLP neurons of {visible(model)}",
        model_name=visible(model),
        n_layers=n_layers,
        d_mlp=d_mlp,
        facts=[(name, visible(str(value))) for name, value in facts],
        cards=[{"name": f"L{c['layer']}/N{c['neuron']}", "line": visible(c["headline"])} for c in cards],
        finder=finder,
        block=Markup(packed_json(data)),
        script=script,
        style=style,
        script_hash=sha256(script),
        style_hash=sha256(style),
    ) + "\n"  # fmt: skip


def packed_json(value: Any) -> str:
    """JSON as compressed base85."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    return as_text(gzip.compress(text, 9, mtime=0))

"""The start page of a run's site: all neurons that have a page, and the way to the next one."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gluscope.core.names import public_name
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import PAGES, RunPaths
from gluscope.core.provenance import RunProvenance
from gluscope.model.spec import ModelSpec
from gluscope.page.bundle import START_PAGE
from gluscope.page.finder import FOLDER
from gluscope.page.pack import as_text
from gluscope.page.render import CARD, ICON, TYPED, environment, sha256, visible
from gluscope.store.atomic import new_file
from gluscope.store.damage import Damaged, Misplaced, refused
from gluscope.store.listing import LISTING, Listed, list_folder, write_listing
from gluscope.store.sealed import unseal

_CARD = re.compile(rb'<script type="application/json" id="card">(.*?)</script>', re.DOTALL)
_HEAD_BYTES = 65_536
_KEYS = frozenset({"layer", "neuron", "headline", "token", "tokens", "value", "case", "frequency", "rw_class"})


def read_card(path: str | Path, neuron: NeuronId) -> dict[str, Any]:
    """What the head of a neuron's page says of it, see `render.card`.

    Raises StoreError, by which the page is to be made anew, for one that is damaged or another neuron's.
    """
    with refused(Path(path), "the page's head"), open(path, "rb") as file:
        found = _CARD.search(file.read(_HEAD_BYTES))
        if not found:
            raise Damaged("a page's card, found none")
        card = unseal(found[1], CARD)
        card.setdefault("tokens", [card.get("token", "")])  # pages of version 1 have no others
        if card.keys() - {"expert", "said"} != _KEYS or of_card(card) != neuron:
            raise Misplaced(f"the card of {neuron}, found another")
        return card


def of_card(card: Mapping[str, Any]) -> NeuronId:
    """The neuron that a card is of."""
    return NeuronId(card["layer"], card["neuron"], card.get("expert", ""))


def existing_pages(run: str) -> list[NeuronId]:
    """Neurons of a run whose page exists, in order."""
    found = []
    paths = RunPaths(run)
    for path in Path(paths.site).glob(PAGES):
        try:
            found.append(paths.parse_page(path.as_posix()))
        except ValueError:
            continue
    return sorted(found)


def read_cards(run: str, neurons: Iterable[NeuronId] | None = None) -> list[dict[str, Any]]:
    """The cards of these neurons' pages, by default of all that exist. Raises StoreError as `read_card` does."""
    paths = RunPaths(run)
    chosen = existing_pages(run) if neurons is None else sorted(neurons)
    return [read_card(paths.page(neuron), neuron) for neuron in chosen]


def render_index(
    *,
    run: str,
    model: str,
    n_layers: int,
    d_mlp: int,
    cards: Sequence[dict[str, Any]],
    facts: Sequence[tuple[str, str]] = (),
    finder: dict[str, Any] | None = None,
    command: str = TYPED,
    options: str = "",
    mixture: Mapping[str, Any] | None = None,
) -> str:
    """The HTML text of a site's index.html.

    model: what it is called (`core.names.public_name`). cards: as `read_cards` gives them. facts: what else to say of
    the run, e.g. ("data set", "dolma-small"). finder: what `finder.write_finder` returned, if the site has data of all
    neurons. command: what the user types before a page's path to have it made. options: what stands behind it (see
    `own_config` of the workflow). mixture: of a model with experts, the attribute of its summary of that name.
    """
    data = {"run": run, "n_layers": n_layers, "d_mlp": d_mlp, "cards": list(cards), "finder": finder,
            "make": f"{command} {RunPaths(run).site}", "options": options}  # fmt: skip
    if mixture is not None:
        data["mixture"] = dict(mixture)
    script, style = START_PAGE.script, START_PAGE.style
    pages = f"{len(cards)} page{'' if len(cards) == 1 else 's'}"
    return environment().get_template("index.html.j2").render(
        run=visible(run),
        icon=ICON,
        description=f"{pages} of {n_layers * d_mlp:,} gated MLP neurons of {visible(model)}",
        model_name=visible(model),
        n_layers=n_layers,
        d_mlp=d_mlp,
        mixture=mixture,
        facts=[(name, visible(str(value))) for name, value in facts],
        cards=[{"name": str(of_card(c)), "line": visible(c["headline"])} for c in cards],
        finder=finder,
        block=Markup(packed_json(data)),
        script=script,
        style=style,
        script_hash=sha256(script),
        style_hash=sha256(style),
    ) + "\n"  # fmt: skip


def index_of(
    run: str,
    spec: ModelSpec,
    provenance: RunProvenance,
    cards: Sequence[dict[str, Any]],
    finder: dict[str, Any] | None,
    options: str,
) -> str:
    """The HTML text of a run's index.html. provenance: of its summary. The others: see `render_index`."""
    return render_index(
        run=run,
        model=public_name(spec.model),
        n_layers=spec.n_layers,
        d_mlp=spec.d_mlp,
        cards=cards,
        facts=facts_of(provenance),
        finder=finder,
        options=options,
        mixture=provenance.mixture,
    )


def facts_of(provenance: RunProvenance) -> list[tuple[str, str]]:
    """What the start page says of the run. provenance: of its summary."""
    facts = {
        "data set": public_name(provenance.dataset),
        "tokens": f"{provenance.tokens:,}",
        "k": str(provenance.k),
        "convention": provenance.convention,
    }
    return list(facts.items())


def write_index(path: str | Path, html: str, date: int | None = None) -> None:
    """Write a site's index.html, and before it a list of that and of the finder's files, which stand there already.

    date: that the file is to have, in nanoseconds; by default that of now.
    """
    path, data = Path(path), html.encode()
    beside = [replace(file, name=f"{FOLDER}/{file.name}") for file in list_folder(path.parent / FOLDER)]
    with new_file(path.parent / LISTING) as part:
        write_listing(path.parent, [Listed.of_bytes(path.name, data), *beside], part)
    with new_file(path) as part:
        part.write_bytes(data)
        if date is not None:
            os.utime(part, ns=(date, date))


def packed_json(value: Any) -> str:
    """JSON as compressed base85."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    return as_text(gzip.compress(text, 9, mtime=0))

"""A GLUScope site folder, as its authors publish it (gluscope.github.io).

    pages.json                                  [{title: MODEL, children: [{title: "L5", children: [...]}]}]
    MODEL/L5/N7/vis.html                        a table of statistics and places for the texts
    MODEL/L5/N7/{case}_{hook}_example_{i}.json  {tokens, values [token][label], labels}

The site's navigation knows three names, so a neuron of an expert is `MODEL/L5/E12-N7/` there.

The site shows neurons in the refactored convention. Pages use the site's own assets (`assets/gluscope*`), which its
older layout lacks: there they look as its pages did. Texts end two tokens after their extreme. Where theirs put -1e-7
for a 0 among negative values, for the colour scale, ours have 0.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.errors import StoreError
from gluscope.core.names import is_local, short_name
from gluscope.core.neuron import NeuronId
from gluscope.core.provenance import RunProvenance
from gluscope.page.record import NeuronPage
from gluscope.store.atomic import new_file, new_folder
from gluscope.store.listing import check_listed, write_listing

ORDER = (Quantity.POST, Quantity.IN, Quantity.GATE, Quantity.ACT)  # of columns, tables and lists
KEPT = 3  # tokens that a text keeps, from its extreme on
PAGES = "pages.json"
_PLAIN_DATA = "dolma-small"  # texts that the site's titles do not name
_NUMBERED = re.compile(r"(?:L|(?:(E\d+|ES\d*)-)?N)(\d+)")


def title(provenance: RunProvenance, run: str) -> str:
    """What the site calls a model: its hub id without owner and `-hf`, with the data set unless that is dolma-small.

    A model in a folder goes by the name of its run. provenance: of its summary.
    """
    if is_local(provenance.model_revision):
        return run
    code = short_name(provenance.model).removesuffix("-hf")
    data = re.sub(r"[^\w.-]", "-", short_name(provenance.dataset))
    return code if data == _PLAIN_DATA else f"{code}_{data}"


def write_site(folder: str | Path, model: str, neurons: Iterable[NeuronPage]) -> int:
    """Write a folder of `neurons` anew, whole or not at all; returns how many. model: their title there."""
    written: list[NeuronId] = []
    with new_folder(folder) as part:
        for page in neurons:
            write_neuron(part / model / folder_name(page.id), page, model)
            written.append(page.id)
        _save_pages(part / PAGES, merged([], entries(model, written)))
        write_listing(part)
    return len(written)


def folder_name(neuron: NeuronId) -> str:
    """Its folder below the model's."""
    return f"L{neuron.layer}/{_name(neuron)}"


def _name(neuron: NeuronId) -> str:
    """What the site calls a neuron in its layer."""
    return f"{neuron.expert}-N{neuron.neuron}" if neuron.expert else f"N{neuron.neuron}"


def write_neuron(folder: Path, page: NeuronPage, model: str) -> None:
    """The files of one neuron, in the refactored convention, into a folder that is made. model: its title."""
    page = page.in_convention("refactored")
    folder.mkdir(parents=True)
    for case in CASES:
        for quantity in case.listed:
            for i in range(len(page.cases[case].extreme[quantity])):
                text = json.dumps(example(page, case, quantity, i), indent=4, allow_nan=False)
                (folder / example_name(case, quantity, i)).write_text(text, encoding="ascii")
    (folder / "vis.html").write_text(_vis(page, model), encoding="utf-8", newline="\n")


def example_name(case: SignCase, quantity: Quantity, i: int) -> str:
    """File of example `i` of a list."""
    return f"{case.value}_{quantity.hook}_example_{i}.json"


def example(page: NeuronPage, case: SignCase, quantity: Quantity, i: int) -> dict[str, Any]:
    """Tokens of an example, up to two behind its extreme, with values [token][label].

    The first column is the list's quantity, 0 outside of the case; for gate's lists where the gate is open a second
    one is act's. Then all four, everywhere.
    """
    place = page.cases[case].extreme[quantity][i]
    own = page.values(place.example)
    inside = case.holds(own[Quantity.GATE], own[Quantity.IN])
    alone = [quantity]
    if case.gate_sign > 0 and quantity is Quantity.GATE:
        alone.append(Quantity.ACT)
    columns = [np.where(inside, own[q], np.float32(0)) for q in alone]
    columns += [np.nan_to_num(own[q], nan=0.0) for q in ORDER]  # 0 where a token does not reach the neuron's expert
    cut = slice(0, place.position + KEPT)
    return {
        "tokens": [token.text for token in page.examples[place.example].tokens[cut]],
        "values": np.stack(columns, axis=-1).astype(np.float32)[cut].tolist(),
        "labels": [f"{case.value}_{q.hook}" for q in alone] + [q.hook for q in ORDER],
    }


def entries(model: str, neurons: Iterable[NeuronId]) -> list[dict[str, Any]]:
    """What pages.json says of a model's neurons."""
    layers: dict[int, list[dict[str, Any]]] = {}
    for neuron in neurons:
        entry = {"title": _name(neuron), "url": f"{model}/{folder_name(neuron)}/vis.html"}
        layers.setdefault(neuron.layer, []).append(entry)
    return [{"title": model, "children": [{"title": f"L{n}", "children": children} for n, children in layers.items()]}]


def merged(known: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two lists of pages.json as one: every title once, sorted, what is in either kept; `more` wins."""
    found: dict[str, dict[str, Any]] = {}
    for entry in [*known, *more]:
        before = found.get(entry["title"], {})
        found[entry["title"]] = {**before, **entry}
        if "children" in before or "children" in entry:
            found[entry["title"]]["children"] = merged(before.get("children", []), entry.get("children", []))
    return [found[name] for name in sorted(found, key=_by_number)]


def merge_into(folder: str | Path, site: str | Path) -> int:
    """Copy an exported folder into a checkout of the site, and add its neurons to pages.json; returns how many.

    Neurons that are there already are replaced. Raises StoreError for a folder that is no site, or no export.
    """
    folder, site = Path(folder), Path(site)
    check_listed(folder, whole=True)
    more = _read_pages(folder / PAGES, "run the export")
    known = _read_pages(site / PAGES, "clone https://github.com/gluscope/gluscope.github.io and name that folder")
    pages = sorted(folder.glob("*/L*/*N*/vis.html"))
    for page in pages:
        with new_folder(site / page.parent.relative_to(folder)) as part:
            shutil.copytree(page.parent, part, dirs_exist_ok=True)
    with new_file(site / PAGES) as new:
        _save_pages(new, merged(known, more))
    return len(pages)


def _read_pages(path: Path, step: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return merged(found, [])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(str(path), "a GLUScope site's list of pages", type(error).__name__, step) from error


def _save_pages(path: Path, pages: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(pages, indent=4), encoding="utf-8")


def _by_number(name: str) -> tuple[int, NeuronId, str]:
    """Layers and neurons by their numbers, behind titles of models."""
    number = _NUMBERED.fullmatch(name)
    return (0, NeuronId(0, int(number[2]), number[1] or ""), "") if number else (-1, NeuronId(0, 0), name)


def _vis(page: NeuronPage, model: str) -> str:
    rows = {quantity: [_range(page, case, quantity) for case in CASES] for quantity in ORDER}
    lists = {
        case: {
            quantity: [example_name(case, quantity, i) for i in range(len(page.cases[case].extreme[quantity]))]
            for quantity in ORDER
            if page.cases[case].extreme.get(quantity)
        }
        for case in CASES
    }
    return (
        _templates().get_template("vis.html.j2").render(page=page, model=model, cases=CASES, rows=rows, lists=lists)
        + "\n"
    )


def _range(page: NeuronPage, case: SignCase, quantity: Quantity) -> tuple[float, float, float | None]:
    """Largest, smallest and mean of a quantity in a case, as the site's table has them."""
    stats = page.cases[case]
    listed = Quantity.GATE if quantity not in case.listed else quantity
    places = stats.extreme[listed]
    extreme = places[0].value if places else 0.0
    if listed is not quantity:
        extreme = float(page.act(np.array(extreme, np.float32)))
    return max(extreme, 0.0), min(extreme, 0.0), stats.mean[quantity]


@cache
def _templates() -> Environment:
    folder = Path(__file__).parent / "templates"
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

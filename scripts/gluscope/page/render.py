"""A page's record as one self-contained HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gluscope.core.cases import CASES, QUANTITIES, Quantity, SignCase
from gluscope.core.precision import dtype_note
from gluscope.page.bundle import NEURON_PAGE
from gluscope.page.headline import headline, peaks, plain, tokens_named
from gluscope.page.numbers import clipped, label, number, percent
from gluscope.page.pack import LIMIT, Precision, pack
from gluscope.page.record import NeuronPage
from gluscope.page.words_view import words_of_cases
from gluscope.store.sealed import seal

CARD = "what a page says of its neuron"
_HERE = Path(__file__).parent
# Joiners are shown as they are between letters that they shape, and between emoji that they join.
_SHAPED = (
    "\u0620-\u074f\u0750-\u077f\u08a0-\u08ff\u0900-\u0963\u0966-\u0dff"
    "\u1000-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc"
)
_EMOJI = "\u2190-\u2bff\U0001f000-\U0001faff"
_JOINER = f"(?<=[{_SHAPED}])[\u200c\u200d](?=[{_SHAPED}])|(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])"
_HIDDEN = re.compile(
    f"(?!{_JOINER})"
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SOURCES = {
    "cache": "from the scan's cached MLP inputs (DTYPE)",
    "replay": "from a replay of the scan",
    "model": "from a new forward pass",
}
TYPED = "snakemake --cores 2"  # what a user types, before a page's path, to have it made
_DRAWN_ROWS = ("before", "token", "after")
# Four squares of two colours, as the cases lie: within the page, or a browser would ask the site for one.
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 4 4'%3E%3Cpath fill='%23c4520c' "
    "d='M2 0h2v2H2zM0 2h2v2H0z'/%3E%3Cpath fill='%231d5fc4' d='M0 0h2v2H0zM2 2h2v2H2z'/%3E%3C/svg%3E"
)


def render_page(page: NeuronPage, *, index: str | None = "../index.html", limit: int = LIMIT) -> str:
    """The whole HTML text, with LF line ends, encodable as UTF-8.

    index: address of the site's start page, for the way to other neurons; None leaves these links out.
    limit: characters that the data may have.
    """
    block, precision = pack(page, limit)
    script, style = NEURON_PAGE.script, NEURON_PAGE.style
    line = headline(page)
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            index=index,
            model_name=visible(page.provenance.model),
            dataset_name=visible(page.provenance.dataset),
            headline=line,
            title=_title(page),
            icon=ICON,
            citation=_citation(page),
            description=visible(plain(line)),
            card=inert_json(seal(CARD, card(page))),
            facts=_facts(page, precision),
            quantities=QUANTITIES,
            plain_rows=[_plain_row(page, case) for case in CASES],
            block=Markup(block),
            script=script,
            style=style,
            script_hash=sha256(script),
            style_hash=sha256(style),
        )
        + "\n"
    )


def _title(page: NeuronPage) -> str:
    """What tells tabs apart: the neuron, the token at its strongest post, the model."""
    ranked = peaks(page)
    token = " ".join(ranked[0].token.split()) if ranked else ""
    shown = f" “{clipped(visible(token), 24)}”" if token else ""
    return f"{str(page.id).replace('/', ' ')}{shown} · {visible(page.provenance.model)} · GLUScope"


def _citation(page: NeuronPage) -> str:
    """A sentence that says which numbers these are: model, data, revisions, convention, program."""
    known = page.provenance

    def at(name: str, revision: str) -> str:
        return f"{name} (revision {revision})" if revision else name

    scanned = f"{known.tokens:,} tokens of " if known.tokens is not None else ""
    texts = f"{scanned}{at(known.dataset, known.dataset_revision)}, " if known.dataset else ""
    version = known.versions.get("gluscope")
    expert = f"expert {page.id.expert}, " if page.id.expert else ""
    made = "Converted from a published GLUScope page" if known.source == "published" else "GLUScope Snakemake workflow"
    return visible(
        f"Layer {page.id.layer}, {expert}neuron {page.id.neuron} of {at(known.model, known.model_revision)}, "
        f"{texts}{page.convention} sign convention, run {page.run}. {made}{f' {version}' if version else ''}, "
        "after Gerstner and Schütze, arXiv 2602.23826."
    )


def card(page: NeuronPage) -> dict[str, Any]:
    """What a site's list says of a page; stands in the page's head as JSON, see `site.read_card`."""
    ranked = peaks(page)
    first = ranked[0] if ranked else None
    return {
        "layer": page.id.layer,
        "neuron": page.id.neuron,
        **({"expert": page.id.expert} if page.id.expert else {}),
        "headline": plain(headline(page)),
        "token": first.token if first else "",
        "tokens": tokens_named(page),
        "value": first.value if first else None,
        "case": first.case.value if first else None,
        "frequency": {case.value: page.cases[case].frequency for case in CASES},
        "rw_class": page.weights[page.convention].rw_class if page.weights else None,
        **({"said": _said(page)} if page.descriptions or page.explained else {}),
    }


def _said(page: NeuronPage) -> list[str]:
    """What is said of the neuron, by others and by a language model: for the search among pages."""
    others = [one.words for one in page.descriptions.said] if page.descriptions else []
    return [*others, *(words_of_cases(page.explained) if page.explained else [])]


def inert_json(value: Any) -> Markup:
    """JSON that can stand inside a script element: no `<`, no character beyond ASCII."""
    return Markup(json.dumps(value, allow_nan=False).replace("<", "\\u003c"))


def visible(text: str) -> str:
    """Text without characters that are invisible, turn the text around them, or cannot be encoded."""

    def shown(found: re.Match[str]) -> str:
        code = ord(found[0])
        return chr(0x2400 + code) if code < 32 else f"⟨U+{code:04X}⟩"

    return _HIDDEN.sub(shown, text)


def amount(count: int) -> str:
    """20.0 M, 312 k."""
    for size, unit in ((1_000_000_000, "B"), (1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def _facts(page: NeuronPage, kept: Precision) -> list[tuple[str, str]]:
    """What the footer says, without what is not known."""
    known = page.provenance
    precision = "float16 in this file; statistics and extremes in full"
    if kept.near is not None:
        precision += f"; {kept.near} tokens from an extreme and farther: within {50 / kept.steps:.2g} % of the largest"
    difference = None
    if known.difference is not None and known.relative_difference is not None:
        difference = f"{known.difference:.2g} (relative {known.relative_difference:.2g})"
    facts = {
        "run": page.run,
        "model": known.model,
        "model revision": known.model_revision,
        "data set": known.dataset,
        "data set revision": known.dataset_revision,
        "tokens scanned": f"{known.tokens:,}" if known.tokens is not None else None,
        "tokens skipped": known.skipped,
        "texts scanned": f"{known.examples:,}" if known.examples is not None else None,
        "tokens that reach the expert": _reached(page),
        "convention": f"{page.convention}; this neuron's sign {f'{page.sign:+d}' if page.sign else 'is not known'}",
        "activation": page.act_fn,
        "k": known.k,
        "scan's dtype": dtype_note(known.dtype),
        "scan ran on": f"{known.device}; statistics by {known.reducer}" if known.reducer else known.device,
        "descriptions": page.descriptions.source if page.descriptions else None,
        "texts' values": _SOURCES.get(known.source, known.source).replace("DTYPE", known.cache_dtype),
        "largest difference": f"{difference} between scan and texts" if difference else None,
        "precision": precision,
        "versions": ", ".join(f"{name} {number}" for name, number in known.versions.items()),
    }  # fmt: skip
    return [(name, visible(str(value))) for name, value in facts.items() if value not in (None, "")]


def _reached(page: NeuronPage) -> str | None:
    """How many tokens the router sent to the neuron's expert; None for one of no routed expert."""
    if page.reached is None:
        return None
    share = percent(page.reached / page.provenance.tokens) if page.provenance.tokens else "unknown"
    return f"{page.reached:,} ({share} of all)"


def _plain_row(page: NeuronPage, case: SignCase) -> dict[str, Any]:
    """A case as text."""
    stats = page.cases[case]
    cells = []
    for quantity in QUANTITIES:
        mean = number(stats.mean[quantity], decimals=page.provenance.decimals)
        cells += [mean, number(page.first_extreme(case, quantity))]
    row = {
        "label": label(case),
        "count": "" if stats.count is None else f"{stats.count:,}",
        "share": shares(page, case),
        "cells": cells,
    }
    text = dict.fromkeys(_DRAWN_ROWS, "")
    if places := stats.extreme[Quantity.POST]:
        tokens = [token.text for token in page.examples[places[0].example].tokens]
        at = places[0].position
        parts = ("".join(tokens[max(0, at - 20) : at]), tokens[at], "".join(tokens[at + 1 : at + 8]))
        text = dict(zip(_DRAWN_ROWS, map(visible, parts), strict=True))
    return row | text


def shares(page: NeuronPage, case: SignCase) -> str:
    """A case's share of all tokens, and of those that reach the neuron's expert."""
    stats = page.cases[case]
    if not page.reached or stats.count is None:
        return percent(stats.frequency)
    return f"{percent(stats.frequency)}; {percent(stats.count / page.reached)} of those that reach it"


def sha256(text: str) -> str:
    """As content security policies write it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def environment() -> Environment:
    """Templates. All text that they put in is escaped and made visible; only `Markup` goes in as it is."""
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_shown,
    )
    templates.filters |= {"amount": amount, "visible": visible, "case_label": lambda name: label(SignCase(name)),
                            "grouped": lambda count: f"{count:,}"}  # fmt: skip
    return templates


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

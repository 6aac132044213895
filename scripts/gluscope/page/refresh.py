"""A site's start page kept true: after every command it lists the pages that exist."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gluscope.core.errors import GluscopeError, StoreError
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.model.spec import ModelSpec
from gluscope.page.pack import from_text
from gluscope.page.site import existing_pages, index_of, of_card, read_card, write_index
from gluscope.store.listing import LISTING
from gluscope.summary.file import SummaryReader

_BLOCK = re.compile(r'id="data">([^<]*)<')
_LONG_AGO = 1_000_000_000  # older than what it is made from, so that the whole one is made when asked for
_CLOCK = 2_000_000_000  # nanoseconds by which clocks of machines may differ


def refresh_indexes(runs: Iterable[str], options: str) -> list[str]:
    """Do so for these runs. Returns what went wrong, a line each. options: see `own_config` of the workflow."""
    wrong = []
    for run in runs:
        try:
            refresh_index(run, options)
        except (GluscopeError, OSError, ValueError) as error:
            wrong.append(f"warning: {RunPaths(run).index} may not list all pages: {error}")
    return wrong


def refresh_index(run: str, options: str = "") -> bool:
    """List the pages that exist in a run's start page, if it does not. Returns whether it was written.

    Where there is none, one without data of all neurons is made, for the way from page to page. The date of one that is
    there stays, by which it is known what its data are of.
    """
    paths = RunPaths(run)
    index, pages = Path(paths.index), existing_pages(run)
    known = start_page(index)
    listed = {} if known is None else {of_card(card): card for card in known["cards"]}
    newer = _newer(paths, pages)
    if not pages or (known is not None and list(listed) == pages and not newer):
        return False
    cards = []
    for neuron in pages:
        if neuron in listed and neuron not in newer:
            cards.append(listed[neuron])
            continue
        with suppress(StoreError, FileNotFoundError):  # whoever asks for that page has it made anew
            cards.append(read_card(paths.page(neuron), neuron))
    if known is not None and known["cards"] == cards:
        os.utime(index.parent / LISTING)
        return False
    spec, provenance = ModelSpec.read(paths.model), SummaryReader(paths.summary).provenance
    finder, options = (known["finder"], known["options"]) if known is not None else (None, options)
    date = index.stat().st_mtime_ns if known is not None else _LONG_AGO
    write_index(index, index_of(run, spec, provenance, cards, finder, options), date)
    return True


def start_page(index: Path) -> dict[str, Any] | None:
    """What a start page holds; None where there is none that can be read."""
    try:
        found = _BLOCK.search(index.read_text(encoding="utf-8"))
        return json.loads(gzip.decompress(from_text(found[1]))) if found else None
    except (OSError, ValueError, EOFError):
        return None


def _newer(paths: RunPaths, pages: list[NeuronId]) -> set[NeuronId]:
    """Pages that may have been written since the list was."""
    try:
        since = (Path(paths.site) / LISTING).stat().st_mtime_ns - _CLOCK
    except FileNotFoundError:
        return set(pages)
    found = set()
    for page in pages:
        with suppress(FileNotFoundError):
            if os.stat(paths.page(page)).st_mtime_ns > since:
                found.add(page)
    return found


def index_with(run: str, cards: Iterable[dict[str, Any]]) -> str | None:
    """A start page that lists pages beside those that it does, for pages that are no files; None if there is none.

    cards: as `render.card` gives them.
    """
    paths = RunPaths(run)
    known = start_page(Path(paths.index))
    if known is None:
        return None
    listed = {of_card(card): card for card in [*cards, *known["cards"]]}
    ordered = [listed[neuron] for neuron in sorted(listed)]
    spec, provenance = ModelSpec.read(paths.model), SummaryReader(paths.summary).provenance
    return index_of(run, spec, provenance, ordered, known["finder"], known["options"])

"""Two neurons on one page, in one file: what differs, then both pages, which show the same case, list and colours."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from markupsafe import Markup

from gluscope.page.bundle import NEURON_PAGE, PAIR_PAGE
from gluscope.page.pack import LIMIT, as_text
from gluscope.page.record import NeuronPage
from gluscope.page.render import ICON, environment, render_page, sha256, visible


def render_pair(left: NeuronPage, right: NeuronPage, sites: Sequence[str]) -> str:
    """The whole HTML text. The two are of one data set. sites: addresses of their own pages, from where the file lies.

    Both pages are in it as they are, compressed once more; each may have half the characters of one by itself.
    """
    pages = [render_page(page, index=None, limit=LIMIT // 2) for page in (left, right)]
    runs = ["", ""] if left.run == right.run else [f" of {left.run}", f" of {right.run}"]
    names = [f"{page.id}{run}" for page, run in zip((left, right), runs, strict=True)]
    return environment().get_template("pair.html.j2").render(
        icon=ICON,
        names=names,
        sites=list(sites),
        models=[visible(page.provenance.model) for page in (left, right)],
        blocks=[Markup(as_text(gzip.compress(html.encode(), 6, mtime=0))) for html in pages],
        script=PAIR_PAGE.script,
        style=PAIR_PAGE.style,
        script_hashes=[sha256(bundle.script) for bundle in (PAIR_PAGE, NEURON_PAGE)],
        style_hashes=[sha256(bundle.style) for bundle in (PAIR_PAGE, NEURON_PAGE)],
    ) + "\n"  # fmt: skip

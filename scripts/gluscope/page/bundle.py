"""The script and style files of each kind of page, in the order in which they stand in it.

A section has one name: `templates/page/NAME.html.j2`, `assets/page/NAME.js` and `assets/page/NAME.css`; `NAME-PART.js`
is a part of its script. `page` is for neurons' pages, `site` for the start page, `shared` for both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markupsafe import Markup

ASSETS = Path(__file__).parent / "assets"
_COMMENT = re.compile(r"^[ ]*(?://.*|/\*(?s:.*?)\*/)\n", re.MULTILINE)


@dataclass(frozen=True)
class Bundle:
    """scripts, styles: files below `ASSETS` without their ending."""

    scripts: tuple[str, ...]
    styles: tuple[str, ...]

    @cached_property
    def script(self) -> Markup:
        """All scripts as one text. They share one scope and leave nothing global."""
        return Markup(f'\n(() => {{\n"use strict";\n{text_of(self.scripts)}\n}})();\n')

    @cached_property
    def style(self) -> Markup:
        """All styles as one text."""
        return Markup(text_of(self.styles, ".css"))


NEURON_PAGE = Bundle(
    scripts=(
        "shared/block",
        "shared/numbers",
        "shared/show",
        "shared/theme",
        "shared/live",
        "page/activations",
        "page/data",
        "page/convention",
        "page/state",
        "page/texts",
        "page/terms",
        "page/headline",
        "page/plane",
        "page/plane-density",
        "page/plane-places",
        "page/plane-figure",
        "page/descriptions",
        "page/cards",
        "page/words",
        "page/examples-entries",
        "page/examples",
        "page/examples-files",
        "page/examples-figure",
        "page/weights",
        "page/measured",
        "page/footer",
        "page/main",
    ),
    styles=(
        "shared/colours",
        "shared/base",
        "shared/top",
        "shared/controls",
        "shared/show",
        "page/headline",
        "page/plane",
        "page/cards",
        "page/descriptions",
        "page/words",
        "page/texts",
        "page/examples",
        "page/weights",
        "page/measured",
        "page/footer",
        "shared/help",
        "page/plain",
        "page/sizes",
        "page/print",
    ),
)
START_PAGE = Bundle(
    scripts=(
        "shared/block",
        "shared/numbers",
        "shared/show",
        "shared/theme",
        "shared/live",
        "site/names",
        "site/picker",
        "site/layers",
        "site/pages",
        "site/finder-tokens",
        "site/finder-columns",
        "site/finder-scatter",
        "site/finder-address",
        "site/finder-words",
        "site/finder-ask",
        "site/finder-take",
        "site/finder",
        "site/main",
    ),
    styles=(
        "shared/colours",
        "shared/base",
        "shared/top",
        "shared/controls",
        "shared/show",
        "shared/help",
        "site/base",
        "site/picker",
        "site/layers",
        "site/pages",
        "site/finder",
        "site/print",
    ),
)
PAIR_PAGE = Bundle(
    scripts=("shared/block", "shared/numbers", "shared/show", "shared/theme", "pair/pair"),
    styles=("shared/colours", "shared/base", "shared/top", "shared/controls", "shared/show", "pair/pair"),
)


def text_of(names: Iterable[str], ending: str = ".js") -> str:
    """These files one after another, without comments on lines of their own: the bytes are for data."""
    files = ((ASSETS / (name + ending)).read_text(encoding="utf-8").rstrip() for name in names)
    return "\n".join(_COMMENT.sub("", text) for text in files)

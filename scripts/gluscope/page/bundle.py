"""The script and style files of each kind of page, in the order in which they stand in it.

A section has one name: `templates/NAME.html.j2`, `assets/*/NAME.js`, `assets/*/NAME.css`; `NAME-PART.js` is a part of its
script. `assets/shared` is for both kinds of page.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markupsafe import Markup

ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Bundle:
    """scripts, styles: files below `ASSETS` without their ending."""

    scripts: tuple[str, ...]
    styles: tuple[str, ...]

    @cached_property
    def script(self) -> Markup:
        """All scripts as one text. They share one scope and leave nothing global."""
        return Markup(f'\n(() => {{\n"use strict";\n{_joined(self.scripts, ".js")}\n}})();\n')

    @cached_property
    def style(self) -> Markup:
        """All styles as one text."""
        return Markup(_joined(self.styles, ".css"))


NEURON_PAGE = Bundle(
    scripts=(
        "shared/block",
        "page/activations",
        "page/data",
        "shared/show",
        "page/state",
        "page/texts",
        "page/plane",
        "page/plane-density",
        "page/plane-places",
        "page/plane-figure",
        "page/cards",
        "page/examples-entries",
        "page/examples",
        "page/weights",
        "shared/theme",
        "page/main",
    ),
    styles=("shared/page1", "page/page2"),
)
START_PAGE = Bundle(
    scripts=(
        "shared/block",
        "shared/show",
        "site/finder-columns",
        "site/finder-scatter",
        "site/finder-address",
        "site/finder",
        "shared/theme",
        "site/main",
    ),
    styles=("site/index", "shared/page1"),
)


def _joined(names: tuple[str, ...], ending: str) -> str:
    return "\n".join((ASSETS / (name + ending)).read_text(encoding="utf-8").rstrip() for name in names)

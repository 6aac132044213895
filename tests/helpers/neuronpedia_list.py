"""What Neuronpedia's page makes of the texts of a neuron, told from its source: which it shows, in which order, under
which interval, which token it frames and how strongly it colours each.

After activations-list.tsx, activation-item.tsx and lib/utils/activations.ts of its web app (2026-09); for sources
without direct feature attribution.
"""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.checkout import REPO
from jsonschema import Draft202012Validator

FAINTEST = 0.00005  # values up to this are not coloured
SCHEMA = json.loads((REPO / "tests/unit/export/neuronpedia.schema.json").read_text(encoding="utf-8"))


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file, each of which must fit its kind's schema."""
    kind = path.parent.name if path.suffix == ".gz" else path.stem
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found = [json.loads(line) for line in data.decode("ascii").splitlines()]
    validator = Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{kind}"})
    for line in found:
        validator.validate(line)
    return found


@dataclass
class Shown:
    """A text in the list. opacity: of each token's colour, from 0 to 1. framed: the token that stands for the text."""

    line: dict[str, Any]
    bin: tuple[float, float]
    framed: int
    opacity: list[float] = field(default_factory=list)


def shown(lines: list[dict[str, Any]]) -> list[Shown]:
    """The list as it opens. Texts with the same tokens are shown once, and only where their `maxValue` is above 0."""
    first: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in lines:
        if line["maxValue"] > 0:
            first.setdefault(tuple(sorted(line["tokens"])), line)
    strongest = max((line["maxValue"] for line in lines if line["maxValue"]), default=-100.0)
    edges = sorted({line["binMax"] for line in first.values() if line["binMax"] is not None})
    found = [Shown(line, _bin(line, edges), line["maxValueTokenIndex"] or 0) for line in first.values()]
    for one in found:
        one.opacity = [_opacity(value, strongest) for value in one.line["values"]]
    return sorted(found, key=lambda one: (-one.bin[1], -one.line["maxValue"]))


def _bin(line: dict[str, Any], edges: list[float]) -> tuple[float, float]:
    """Its own interval, unless there are several and the text's maximum lies beyond its end."""
    own = line["binMin"], line["binMax"] or 0.0
    if len(edges) > 1 and line["maxValue"] >= own[1]:
        at = next((i for i, edge in enumerate(edges) if edge >= line["maxValue"]), 0)
        if at > 0:
            return edges[at - 1], edges[at]
    return own


def _opacity(value: float, strongest: float) -> float:
    if value <= FAINTEST:
        return 0.0
    return min(1.0, 0.05 + 0.95 * math.log10(1 + 9 * value / strongest))

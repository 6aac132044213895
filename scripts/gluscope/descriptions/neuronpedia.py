"""Explanations as Neuronpedia has them: lines of `explanations/batch-0.jsonl.gz` of a source.

`modelId`, `layer` (the source), `index`, `description`, `explanationModelName`. Sources are those of our export, one
for each sign case (and expert), or a layer's number alone, by which Neuronpedia knows the MLP neurons of older models:
values above 0 are shown there, so that post is above 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gluscope.core.cases import CASES, SignCase
from gluscope.core.neuron import NeuronId
from gluscope.descriptions.fields import Foreign, score_of, words_of
from gluscope.descriptions.transluce import cases_of
from gluscope.descriptions.types import Description

BY = "Neuronpedia"
_SOURCE = re.compile(r"(0|[1-9]\d*)(?:-gluscope(?:-(e\d+|es\d*))?-gate-(pos|neg)-in-(pos|neg))?")
_OF_SOURCE = ("release.jsonl", "model.jsonl", "sourceset.jsonl", "source.jsonl", "sources.json")
_INDEX = re.compile(r"0|[1-9]\d*")


def read_explanation(record: Mapping[str, Any], convention: str) -> Iterator[tuple[NeuronId, Description]]:
    """What one line says. convention: that of the run whose export it is about. Raises Foreign for another line."""
    source, index = str(record.get("layer")), str(record.get("index"))
    found = _SOURCE.fullmatch(source)
    if not found:
        raise Foreign(f"a source of MLP neurons under `layer` (5, or 5-gluscope-gate-pos-in-neg), found {source!r}")
    if not _INDEX.fullmatch(index):
        raise Foreign(f"a number from 0 under `index`, found {index!r}")
    layer, expert, *signs = found.groups()
    cases, has = ((_case(*signs),), convention) if all(signs) else (cases_of(1), "raw")
    score, measure = _scored(record.get("scores"))
    model, notes = record.get("explanationModelName"), record.get("notes")
    whose = f"{BY}, by {model}" if model else f"{BY}: {notes}" if notes else BY
    yield (
        NeuronId(int(layer), int(index), (expert or "").upper()),
        Description(cases, words_of(record, "description"), " ".join(whose.split()), score, measure, has),
    )


def is_beside_explanations(file: Path) -> bool:
    """Whether a file is one of the others that a source has."""
    return file.parent.name in ("features", "activations") or file.name in _OF_SOURCE


def _case(gate: str, in_: str) -> SignCase:
    signs = {"pos": 1, "neg": -1}
    return next(case for case in CASES if (case.gate_sign, case.in_sign) == (signs[gate], signs[in_]))


def _scored(scores: Any) -> tuple[float | None, str]:
    """The best of its scores, and what it is; lines of a bulk export have none."""
    found = [(score_of(one.get("value")), one) for one in scores or [] if isinstance(one, Mapping)]
    known = [(value, one) for value, one in found if value is not None]
    if not known:
        return None, ""
    value, one = max(known, key=lambda pair: pair[0])
    return value, " ".join(str(one.get("explanationScoreTypeName") or f"{BY}'s score").split())


def is_explanation(record: Any) -> bool:
    """Whether an object is such a line, or means to be one."""
    return isinstance(record, Mapping) and {"modelId", "index"} <= record.keys()

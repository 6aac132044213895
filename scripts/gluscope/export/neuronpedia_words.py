"""What is said of a neuron in words, as lines of Neuronpedia's `explanations/`, where anything is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from gluscope.core.cases import SignCase
from gluscope.export.neuronpedia_source import Release, storable
from gluscope.page.record import NeuronPage


def explanations(page: NeuronPage, case: SignCase, release: Release) -> Iterator[dict[str, Any]]:
    """A neuron's lines of explanations/ in a case's source.

    `typeName` and `explanationModelName` name rows of Neuronpedia's own tables; whose words these are stands in
    `notes`, with their score.
    """
    for words, notes in said_of(page, case):
        source = release.source(page.id.layer, case, page.id.expert)
        yield {
            "id": _id(f"{release.model} {source} {page.id} {words} {notes}"),
            "modelId": release.model,
            "layer": source,
            "index": str(page.id.neuron),
            "description": storable(words),
            "authorId": release.common["creatorId"],
            "triggeredByUserId": None,
            "notes": storable(notes),
            "scoreV1": 0.0,
            "scoreV2": None,
            "typeName": None,
            "explanationModelName": None,
            "createdAt": release.common["createdAt"],
            "updatedAt": release.common["createdAt"],
        }


def said_of(page: NeuronPage, case: SignCase) -> Iterator[tuple[str, str]]:
    """Words, and whose they are, with their score: those of the run's own language model first."""
    own = page.explained.cases[case] if page.explained else None
    if page.explained and own and own.words:
        scores = (
            f"; {name} {score.value:.3g} (balanced accuracy on {score.true} and {score.false} texts, 0.5 by chance)"
            for name, score in own.scores.items()
        )
        yield own.words, f"GLUScope workflow, by {page.explained.model}{''.join(scores)}"
    for one in page.descriptions.said if page.descriptions else ():
        if case in one.cases:
            score = "" if one.score is None else f"; score {one.score:.3g} ({one.measure})"
            yield one.words, f"{one.by}{score}"


def _id(what: str) -> str:
    """25 letters and digits, as Neuronpedia's ids; the same for the same words of the same neuron."""
    return "c" + hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()[:24]

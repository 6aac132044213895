"""Transluce's descriptions of neurons, as its own programs write them.

A neuron has a description for its positive and one for its negative activations, which are our post in the raw
convention. Three forms hold them:
- `explanations/LAYER/NEURON.json` of its pipeline (TransluceAI/observatory, project/expgen): `neuron_id`, and under
  `explanations` a list or null for "positive" and "negative", each with `explanation` and its `simulations`;
- `NeuronGeneralMetadata` of its neuron database: `layer`, `neuron`, `descriptions` by polarity "1" and "-1";
- a row of that database: `layer`, `neuron`, `polarity` (1 or -1), `description`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.neuron import NeuronId
from gluscope.descriptions.fields import Foreign, mapping_of, number_of, score_of, shown, words_of
from gluscope.descriptions.types import Description

BY = "Transluce"
CONFIG = "explanation_config.json"  # beside the pipeline's folder: models that were asked, model that was described
_SPLITS = ("valid", "test", "train")  # of texts; the first that has scores ranks several descriptions
_SIGNS = {"positive": 1, "negative": -1, "1": 1, "-1": -1, 1: 1, -1: -1}
_Found = Iterator[tuple[NeuronId, Description]]


def cases_of(sign: int) -> tuple[SignCase, ...]:
    """The cases, in the raw convention, in which post has this sign."""
    return tuple(case for case in CASES if case.sign(Quantity.POST) == sign)


def read_record(record: Any, by: str = BY) -> _Found:
    """What one object says. by: whose it is. Raises Foreign for what is none of the three forms."""
    if isinstance(record, Mapping):
        for key, read in (("neuron_id", _explanations), ("descriptions", _metadata), ("polarity", _row)):
            if key in record:
                return read(record, by)
    raise Foreign(f"a neuron's descriptions (`neuron_id`, `descriptions` or `polarity` in it), found {shown(record)}")


def _explanations(record: Mapping[str, Any], by: str) -> _Found:
    """The pipeline's file: of several descriptions the best by its simulations."""
    name, both = mapping_of(record, "neuron_id"), mapping_of(record, "explanations")
    neuron = NeuronId(number_of(name, "layer_index"), number_of(name, "neuron_index"))
    for sign, listed in _by_sign(both):
        if not isinstance(listed, list):
            raise Foreign(f"a list of explanations, found {shown(listed)}")
        score, measure, words = max(_scored(listed), key=lambda one: -math.inf if one[0] is None else one[0])
        yield neuron, Description(cases_of(sign), words, by, score, measure)


def _scored(listed: list[Any]) -> list[tuple[float | None, str, str]]:
    """Score, what it is, and words of each; a list of none is refused."""
    if not listed:
        raise Foreign("an explanation in each list (null where there is none), found an empty list")
    words = [words_of(one, "explanation") for one in listed]
    for split in _SPLITS:
        scores = [_correlation(one.get("simulations"), split) for one in listed]
        if any(score is not None for score in scores):
            measure = f"correlation of simulated with true activations, {split} texts"
            return [(score, measure if score is not None else "", text)
                    for score, text in zip(scores, words, strict=True)]  # fmt: skip
    return [(None, "", text) for text in words]


def _correlation(simulations: Any, split: str) -> float | None:
    found = simulations.get(split) if isinstance(simulations, Mapping) else None
    return score_of(found.get("ev_correlation_score")) if isinstance(found, Mapping) else None


def _metadata(record: Mapping[str, Any], by: str) -> _Found:
    neuron = NeuronId(number_of(record, "layer"), number_of(record, "neuron"))
    for sign, found in _by_sign(mapping_of(record, "descriptions")):
        if not isinstance(found, Mapping):
            raise Foreign(f"a description with `text`, found {shown(found)}")
        yield neuron, _scored_words(found, "text", sign, by)


def _row(record: Mapping[str, Any], by: str) -> _Found:
    neuron = NeuronId(number_of(record, "layer"), number_of(record, "neuron"), _expert(record.get("expert")))
    more = record.get("description_metadata")
    scored = {**(more if isinstance(more, Mapping) else {}), **record}
    yield neuron, _scored_words(scored, "description", _sign(record["polarity"]), by)


def _scored_words(found: Mapping[str, Any], key: str, sign: int, by: str) -> Description:
    score = score_of(found.get("score"))
    return Description(cases_of(sign), words_of(found, key), by, score, "" if score is None else f"{BY}'s score")


def _by_sign(both: Mapping[str, Any]) -> Iterator[tuple[int, Any]]:
    """Signs with what is said of each; null says nothing."""
    return ((_sign(key), value) for key, value in both.items() if value is not None)


def _sign(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, int | str) or key not in _SIGNS:
        raise Foreign(f"a polarity (positive or negative, 1 or -1), found {shown(key)}")
    return _SIGNS[key]


def _expert(value: Any) -> str:
    return "" if value is None else f"E{number_of({'expert': value}, 'expert')}"

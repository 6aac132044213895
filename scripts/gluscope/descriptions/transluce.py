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
from gluscope.descriptions.types import Description

BY = "Transluce"
CONFIG = "explanation_config.json"  # beside the pipeline's folder: models that were asked, model that was described
_SPLITS = ("valid", "test", "train")  # of texts; the first that has scores ranks several descriptions
_SIGNS = {"positive": 1, "negative": -1, "1": 1, "-1": -1, 1: 1, -1: -1}
_Found = Iterator[tuple[NeuronId, Description]]


class Foreign(Exception):
    """What is no description of a neuron. The message is "EXPECTED, found FOUND"."""


def cases_of(sign: int) -> tuple[SignCase, ...]:
    """The cases, in the raw convention, in which post has this sign."""
    return tuple(case for case in CASES if case.sign(Quantity.POST) == sign)


def read_record(record: Any, by: str = BY) -> _Found:
    """What one object says. by: whose it is. Raises Foreign for what is none of the three forms."""
    if isinstance(record, Mapping):
        for key, read in (("neuron_id", _explanations), ("descriptions", _metadata), ("polarity", _row)):
            if key in record:
                return read(record, by)
    raise Foreign(f"a neuron's descriptions (`neuron_id`, `descriptions` or `polarity` in it), found {_shown(record)}")


def _explanations(record: Mapping[str, Any], by: str) -> _Found:
    """The pipeline's file: of several descriptions the best by its simulations."""
    name, both = _mapping(record, "neuron_id"), _mapping(record, "explanations")
    neuron = NeuronId(_number(name, "layer_index"), _number(name, "neuron_index"))
    for sign, listed in _by_sign(both):
        if not isinstance(listed, list):
            raise Foreign(f"a list of explanations, found {_shown(listed)}")
        score, measure, words = max(_scored(listed), key=lambda one: -math.inf if one[0] is None else one[0])
        yield neuron, Description(cases_of(sign), words, by, score, measure)


def _scored(listed: list[Any]) -> list[tuple[float | None, str, str]]:
    """Score, what it is, and words of each; a list of none is refused."""
    if not listed:
        raise Foreign("an explanation in each list (null where there is none), found an empty list")
    words = [_words(one, "explanation") for one in listed]
    for split in _SPLITS:
        scores = [_correlation(one.get("simulations"), split) for one in listed]
        if any(score is not None for score in scores):
            measure = f"correlation of simulated with true activations, {split} texts"
            return [(score, measure if score is not None else "", text)
                    for score, text in zip(scores, words, strict=True)]  # fmt: skip
    return [(None, "", text) for text in words]


def _correlation(simulations: Any, split: str) -> float | None:
    found = simulations.get(split) if isinstance(simulations, Mapping) else None
    return _score(found.get("ev_correlation_score")) if isinstance(found, Mapping) else None


def _metadata(record: Mapping[str, Any], by: str) -> _Found:
    neuron = NeuronId(_number(record, "layer"), _number(record, "neuron"))
    for sign, found in _by_sign(_mapping(record, "descriptions")):
        if not isinstance(found, Mapping):
            raise Foreign(f"a description with `text`, found {_shown(found)}")
        yield neuron, _scored_words(found, "text", sign, by)


def _row(record: Mapping[str, Any], by: str) -> _Found:
    neuron = NeuronId(_number(record, "layer"), _number(record, "neuron"), _expert(record.get("expert")))
    more = record.get("description_metadata")
    scored = {**(more if isinstance(more, Mapping) else {}), **record}
    yield neuron, _scored_words(scored, "description", _sign(record["polarity"]), by)


def _scored_words(found: Mapping[str, Any], key: str, sign: int, by: str) -> Description:
    score = _score(found.get("score"))
    return Description(cases_of(sign), _words(found, key), by, score, "" if score is None else f"{BY}'s score")


def _by_sign(both: Mapping[str, Any]) -> Iterator[tuple[int, Any]]:
    """Signs with what is said of each; null says nothing."""
    return ((_sign(key), value) for key, value in both.items() if value is not None)


def _sign(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, int | str) or key not in _SIGNS:
        raise Foreign(f"a polarity (positive or negative, 1 or -1), found {_shown(key)}")
    return _SIGNS[key]


def _expert(value: Any) -> str:
    return "" if value is None else f"E{_number({'expert': value}, 'expert')}"


def _number(record: Mapping[str, Any], key: str) -> int:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Foreign(f"a number from 0 under `{key}`, found {_shown(value)}")
    return value


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    if not isinstance(value, Mapping):
        raise Foreign(f"keys with values under `{key}`, found {_shown(value)}")
    return value


def _words(record: Any, key: str) -> str:
    value = record.get(key) if isinstance(record, Mapping) else record
    if not isinstance(value, str) or not value.strip():
        raise Foreign(f"a text under `{key}`, found {_shown(value)}")
    return " ".join(value.split())


def _score(value: Any) -> float | None:
    """A finite number; JSON's null, and the NaN of a score that is undefined, are None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Foreign(f"a number as score, found {_shown(value)}")
    return float(value) if math.isfinite(value) else None


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object with {', '.join(map(str, list(value)[:5])) or 'no keys'}"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""Values of somebody else's JSON, refused where they are of another kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class Foreign(Exception):
    """What is no description of a neuron. The message is "EXPECTED, found FOUND"."""


def number_of(record: Mapping[str, Any], key: str) -> int:
    """A whole number from 0."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Foreign(f"a number from 0 under `{key}`, found {shown(value)}")
    return value


def mapping_of(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A mapping."""
    value = record.get(key)
    if not isinstance(value, Mapping):
        raise Foreign(f"keys with values under `{key}`, found {shown(value)}")
    return value


def words_of(record: Any, key: str) -> str:
    """A text that is not empty, on one line. record: what has the key."""
    value = record.get(key) if isinstance(record, Mapping) else record
    if not isinstance(value, str) or not value.strip():
        raise Foreign(f"a text under `{key}`, found {shown(value)}")
    return " ".join(value.split())


def score_of(value: Any) -> float | None:
    """A finite number; JSON's null, and the NaN of a score that is undefined, are None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Foreign(f"a number as score, found {shown(value)}")
    return float(value) if math.isfinite(value) else None


def shown(value: Any) -> str:
    """A value, or what kind of thing it is, for a refusal."""
    if isinstance(value, Mapping):
        return f"an object with {', '.join(map(str, list(value)[:5])) or 'no keys'}"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

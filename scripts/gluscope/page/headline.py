"""A neuron's character in one line."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.page.numbers import clipped, label, number, percent
from gluscope.page.record import NeuronPage


class Part(NamedTuple):
    """A piece of the line. kind: "" plain, "strong" a number, "token" a token's text."""

    text: str
    kind: str = ""


class Peak(NamedTuple):
    """A case's strongest post: its value, the token most often at the case's extremes of post, and how often."""

    case: SignCase
    value: float
    token: str
    times: int
    of: int


def peaks(page: NeuronPage) -> list[Peak]:
    """The cases that have tokens, by |strongest post| descending."""
    found = []
    for case in CASES:
        places = page.cases[case].extreme[Quantity.POST]
        if places:
            texts = [page.examples[place.example].tokens[place.position].text for place in places]
            token, times = Counter(texts).most_common(1)[0]
            found.append(Peak(case, places[0].value, token if times > 1 else texts[0], times, len(texts)))
    return sorted(found, key=lambda peak: -abs(peak.value))


def headline(page: NeuronPage) -> list[Part]:
    """E.g. "Gate open on 1.3 % of tokens. Strongest at ` aren` (gate+ in+, 0.84 %); the other way at ` don` (...)."."""
    ranked = peaks(page)
    if not ranked:
        return [Part("No token of this data set gave it a gate and an in other than 0."), *_class(page)]
    first = ranked[0]
    other = next((peak for peak in ranked if peak.value * first.value < 0), None)
    line = [*_open(page), Part("Strongest "), *_peak(page, first)]
    if other:
        line += [Part("; the other way "), *_peak(page, other)]
    return [*line, Part("."), *_class(page)]


def plain(parts: list[Part]) -> str:
    """The line as text alone."""
    return "".join(f"“{part.text}”" if part.kind == "token" else part.text for part in parts)


def _open(page: NeuronPage) -> list[Part]:
    shares = [page.cases[case].frequency for case in CASES if case.gate_sign > 0]
    known = [share for share in shares if share is not None]
    return [Part("Gate open on "), Part(percent(sum(known)), "strong"), Part(" of tokens. ")] if known else []


def _class(page: NeuronPage) -> list[Part]:
    if not page.weights:
        return []
    return [Part(" By its weights: "), Part(page.weights[page.convention].rw_class, "strong"), Part(".")]


def _peak(page: NeuronPage, peak: Peak) -> list[Part]:
    times = "all" if peak.times == peak.of else str(peak.times)
    place = f" ({times} of the top {peak.of}" if peak.times > 1 else " ("
    place += ("; " if peak.times > 1 else "") + f"{label(peak.case)}, {percent(page.cases[peak.case].frequency)})"
    return [
        Part(number(peak.value, plus=True), "strong"),
        Part(" at "),
        Part(clipped(peak.token, 40), "token"),
        Part(place),
    ]

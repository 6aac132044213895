"""A neuron's character in one line."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.page.numbers import clipped, label, number, percent
from gluscope.page.record import Extreme, NeuronPage
from gluscope.page.tokens import word_around


class Phrase(NamedTuple):
    """A piece of the line. kind: "" plain, "strong" a number, "token" a token's text, "word" the word it stands in."""

    text: str
    kind: str = ""


class Peak(NamedTuple):
    """A case's strongest post: its value, and the token where it is.

    word: the word that the token is a piece of, empty if it is none. times: at how many of the case's `of` extremes of
    post the token is. frequent, most: the token at most of them, and at how many.
    """

    case: SignCase
    value: float
    token: str
    word: str
    times: int
    of: int
    frequent: str
    most: int


def peaks(page: NeuronPage) -> list[Peak]:
    """The cases that have tokens, by |strongest post| descending."""
    found = []
    for case in CASES:
        places = page.cases[case].extreme[Quantity.POST]
        if places:
            first, counts = places[0], Counter(_token(page, place) for place in places)
            token, (frequent, most) = _token(page, first), counts.most_common(1)[0]
            if counts[token] == most:
                frequent = token
            word = word_around(page.examples[first.example].tokens, first.position)
            found.append(Peak(case, first.value, token, word, counts[token], len(places), frequent, most))
    return sorted(found, key=lambda peak: -abs(peak.value))


def tokens_named(page: NeuronPage) -> list[str]:
    """The tokens at the cases' strongest posts and at most of each case's extremes, each once."""
    return list(dict.fromkeys(token for peak in peaks(page) for token in (peak.token, peak.frequent)))


def _token(page: NeuronPage, place: Extreme) -> str:
    return page.examples[place.example].tokens[place.position].text


def headline(page: NeuronPage) -> list[Phrase]:
    """E.g. "Gate open on 1.3 % of tokens. Strongest +1.56 at ` aren` (gate+ in+, 0.84 %); the other way ..."."""
    ranked = peaks(page)
    if page.reached == 0:
        return [Phrase(f"No token of this data set reaches {page.id.expert}."), *_class(page)]
    if not ranked:
        return [Phrase("No token of this data set gave it a gate and an in other than 0."), *_class(page)]
    first = ranked[0]
    other = next((peak for peak in ranked if peak.value * first.value < 0), None)
    line = [*_open(page), Phrase("Strongest "), *_peak(page, first)]
    if other:
        line += [Phrase("; the other way "), *_peak(page, other)]
    return [*line, Phrase("."), *_class(page)]


def plain(parts: list[Phrase]) -> str:
    """The line as text alone."""
    return "".join(f"“{part.text}”" if part.kind in ("token", "word") else part.text for part in parts)


def _open(page: NeuronPage) -> list[Phrase]:
    shares = [page.cases[case].frequency for case in CASES if case.gate_sign > 0]
    known = [share for share in shares if share is not None]
    if page.reached and page.provenance.tokens:
        counts = sum(page.cases[case].count or 0 for case in CASES if case.gate_sign > 0)
        reached = Phrase(percent(page.reached / page.provenance.tokens), "strong")
        opened = Phrase(percent(counts / page.reached), "strong")
        name = f" of tokens reach {page.id.expert}"
        return [reached, Phrase(f"{name}; gate open on "), opened, Phrase(" of these. ")]
    return [Phrase("Gate open on "), Phrase(percent(sum(known)), "strong"), Phrase(" of tokens. ")] if known else []


def _class(page: NeuronPage) -> list[Phrase]:
    if not page.weights:
        return []
    return [Phrase(" By its weights: "), Phrase(page.weights[page.convention].rw_class, "strong"), Phrase(".")]


def _peak(page: NeuronPage, peak: Peak) -> list[Phrase]:
    line = [Phrase(number(peak.value, plus=True), "strong"), Phrase(" at "), Phrase(clipped(peak.token, 40), "token")]
    if peak.word:
        line += [Phrase(" in "), Phrase(peak.word, "word")]
    times = "all" if peak.times == peak.of else str(peak.times)
    repeated = f"{times} of the top {peak.of}; " if peak.times > 1 else ""
    line.append(Phrase(f" ({repeated}{label(peak.case)}, {percent(page.cases[peak.case].frequency)}"))
    if peak.frequent != peak.token:
        often = f": {peak.most} of the top {peak.of}"
        line += [Phrase("; most often at "), Phrase(clipped(peak.frequent, 40), "token"), Phrase(often)]
    return [*line, Phrase(")")]

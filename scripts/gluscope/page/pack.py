"""A page's data as one compressed block of text, and back.

Block = base85(gzip(u32 length of header, header as ASCII JSON, padding to 4, arrays)). Arrays are little-endian and
cut into byte planes (all low bytes, then all high bytes), which compress better. The header lists each distinct token
once, the commonest first; texts are numbers of tokens, one byte for the 176 commonest (see `varints`).
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from gluscope.core.cases import CASES, LISTS
from gluscope.core.convention import CONVENTIONS
from gluscope.page.contexts import AFTER, BEFORE, Contexts, cut
from gluscope.page.example_texts import TokenNumbers
from gluscope.page.headline import headline
from gluscope.page.record import NeuronPage, stats_as_json
from gluscope.page.tokens import Token
from gluscope.page.words_view import words_as_json

FORMAT = 1
LIMIT = 870_000  # characters; with the page's own code a file stays below 1 MB
ONE_BYTE, TWO_BYTES = 176, 64
_RFC1924 = str.maketrans(",.", "<&")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%.()*+-;,=>?@^_`{|}~"
_ALPHABET = np.frombuffer(_DIGITS.encode(), np.uint8)


class Precision(NamedTuple):
    """How exactly a block keeps gate and in of its texts.

    near: float16 up to this many tokens from a listed extreme, None = everywhere. steps: beyond, multiples of
    (largest |value| there) / steps. before, after: tokens of context around a sampled one.
    """

    near: int | None
    steps: int
    before: int
    after: int


PRECISIONS = (
    Precision(None, 0, BEFORE, AFTER),
    Precision(40, 127, BEFORE, AFTER),
    Precision(40, 127, 4, 1),
    Precision(24, 63, 4, 1),
    Precision(16, 31, 2, 0),
)


def pack(page: NeuronPage, limit: int = LIMIT) -> tuple[str, Precision]:
    """The block with the best precision that fits into `limit` characters, else with the least; and that precision."""
    for precision in PRECISIONS:
        block = pack_as(page, precision)
        if len(block) <= limit:
            break
    return block, precision


def pack_as(page: NeuronPage, precision: Precision) -> str:
    """The block at one precision."""
    contexts = cut(page.sample.contexts, precision.before, precision.after)
    table, texts, around = _tokens(page, contexts)
    values = {name: _values(page, name, precision) for name in ("gate", "in_")}
    sample = page.sample
    arrays = {
        "token": varints(texts),
        **{f"{name.rstrip('_')}_{part}": array for name, (parts, _) in values.items() for part, array in parts.items()},
        "sample_gate": np.asarray(sample.gate, "<f2"),
        "sample_in": np.asarray(sample.in_, "<f2"),
        "sample_example": np.asarray(sample.example, "<i4"),
        "sample_position": np.asarray(sample.position, "<i4"),
        "sample_token": varints(around),
        "sample_length": np.asarray([len(tokens) for tokens in contexts.tokens], np.uint8),
        "sample_at": np.asarray(contexts.at, np.uint8),
    }
    if page.reached is not None:
        weights = [example.weight for example in page.examples.values() if example.weight is not None]
        arrays["weight"] = np.concatenate(weights).astype("<f2") if weights else np.zeros(0, "<f2")
    header = _header(page) | {
        "near": precision.near,
        "step": {name.rstrip("_"): step for name, (_, step) in values.items()},
        "tokens": [token.text for token in table],
        "kinds": {str(number): int(token.kind) for number, token in enumerate(table) if token.kind},
    }
    if skipped := [number for number, token in enumerate(table) if token.skipped]:
        header["skipped"] = skipped
    return pack_arrays(header, arrays)


def _tokens(page: NeuronPage, contexts: Contexts) -> tuple[list[Token], np.ndarray, np.ndarray]:
    """The distinct tokens, the commonest first (then the one seen first), and as int64 places in that list the texts'
    tokens and those of the contexts, one after another."""
    numbers = page.numbers or TokenNumbers()
    own = [
        numbers.of(example.tokens) if page.numbers is None or example.numbers is None else example.numbers
        for example in page.examples.values()
    ]
    texts = np.concatenate(own) if own else np.zeros(0, np.int32)
    around = numbers.of(contexts.counts)
    count = np.bincount(texts, minlength=len(numbers.tokens))
    first = np.full(len(count), len(texts))
    first[around] += np.arange(len(around))
    first[texts[::-1]] = np.arange(len(texts))[::-1]
    count[around] += np.fromiter(contexts.counts.values(), np.int64, len(around))
    there = np.flatnonzero(count)
    order = there[np.lexsort((first[there], -count[there]))]
    place = np.empty(len(count), np.int64)
    place[order] = np.arange(len(order))
    return [numbers.tokens[number] for number in order.tolist()], place[texts], place[around][contexts.numbers]


def pack_arrays(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> str:
    """A block of a header and one-dimensional arrays."""
    about = header | {"arrays": {name: (array.dtype.str, len(array)) for name, array in arrays.items()}}
    text = json.dumps(about, separators=(",", ":"), allow_nan=False).encode("ascii")
    text = len(text).to_bytes(4, "little") + text
    text += b" " * (-len(text) % 4)
    data = text + b"".join(map(_planes, arrays.values()))
    return as_text(gzip.compress(data, 6, mtime=0))


def unpack(block: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a block, as stored."""
    data = gzip.decompress(from_text(block))
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4 : 4 + length])
    start = -(-(4 + length) // 4) * 4
    arrays = {}
    for name, (kind, count) in header["arrays"].items():
        dtype = np.dtype(kind)
        planes = np.frombuffer(data, np.uint8, count * dtype.itemsize, start).reshape(dtype.itemsize, count)
        arrays[name] = np.ascontiguousarray(planes.T).view(dtype).ravel()
        start += count * dtype.itemsize
    return header, arrays


def as_text(data: bytes) -> str:
    """Bytes as base85 text (RFC 1924) without `<` and `&`: nothing that ends or escapes a script element.

    By numpy, in a tenth of the time of `base64.b85encode`.
    """
    padding = -len(data) % 4
    words = np.frombuffer(data + b"\0" * padding, ">u4").astype(np.uint32)
    digits = np.empty((len(words), 5), np.uint8)
    for place in reversed(range(5)):
        words, digits[:, place] = np.divmod(words, np.uint32(85))
    text = _ALPHABET[digits].tobytes().decode("ascii")
    return text[: len(text) - padding]


def from_text(text: str) -> bytes:
    """The bytes of `as_text`."""
    return base64.b85decode(text.translate(_RFC1924))


def varints(number: np.ndarray) -> np.ndarray:
    """int64 [n] as uint8, big-endian: below 176 one byte; then two, the first from 176; then three, from 240."""
    two, three = number - ONE_BYTE, number - ONE_BYTE - (TWO_BYTES << 8)
    rows = np.stack([number, np.zeros_like(number), np.zeros_like(number)], axis=1)
    place = np.flatnonzero(two >= 0)
    rows[place, 0], rows[place, 1] = ONE_BYTE + (two[place] >> 8), two[place] & 255
    place = np.flatnonzero(three >= 0)
    rows[place, 0], rows[place, 1] = ONE_BYTE + TWO_BYTES + (three[place] >> 16), three[place] >> 8 & 255
    rows[place, 2] = three[place] & 255
    size = 1 + (two >= 0) + (three >= 0)
    return rows[np.arange(3) < size[:, None]].astype(np.uint8)


def near_extremes(page: NeuronPage, reach: int | None) -> dict[int, np.ndarray]:
    """bool [token] of each example: at most `reach` tokens from a listed extreme; everywhere if None."""
    near = {row: np.full(len(example.tokens), reach is None) for row, example in page.examples.items()}
    for case, quantity in LISTS if reach is not None else ():
        for place in page.cases[case].extreme[quantity]:
            near[place.example][max(0, place.position - (reach or 0)) : place.position + (reach or 0) + 1] = True
    return near


def _values(page: NeuronPage, name: str, precision: Precision) -> tuple[dict[str, np.ndarray], float]:
    """One quantity of all examples, one text after another: `near` float16, `far` int8 in steps; and the step.

    Far values stand in the middle of their step, so that none becomes 0 or changes its sign.
    """
    near = near_extremes(page, precision.near)
    parts = [getattr(example, name) for example in page.examples.values()]
    values = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    values = np.nan_to_num(values, nan=0.0)  # tokens that do not reach the expert: `weight` says which
    mask = np.concatenate([near[row] for row in page.examples]) if parts else np.zeros(0, bool)
    far = values[~mask]
    step = float(np.abs(far).max(initial=0)) / precision.steps if precision.steps else 0.0
    steps = np.clip(np.floor(far / step), -128, 127) if step else np.zeros(far.shape)
    half = np.clip(values[mask], -65504, 65504).astype("<f2")
    return {"near": half, "far": steps.astype(np.int8)}, step


def _header(page: NeuronPage) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "run": page.run,
        "layer": page.id.layer,
        "neuron": page.id.neuron,
        **({"expert": page.id.expert} if page.id.expert else {}),
        **({"reached": page.reached} if page.reached is not None else {}),
        "convention": page.convention,
        "sign": page.sign,
        "act_fn": page.act_fn,
        "headline": {name: headline(page.in_convention(name)) for name in CONVENTIONS},
        "cases": {case.value: stats_as_json(page.cases[case]) for case in CASES},
        "examples": [
            {
                "row": example.row,
                "length": len(example.tokens),
                "source": _plain(example.source),
                **({"turns": [list(turn) for turn in example.turns]} if example.turns else {}),
            }
            for example in page.examples.values()
        ],
        "weights": page.weights and {name: _given(asdict(view)) for name, view in page.weights.items()},
        "provenance": asdict(page.provenance),
        **({"effect": asdict(page.effect)} if page.effect else {}),
        **({"descriptions": page.descriptions.as_json()} if page.descriptions else {}),
        **({"explained": words_as_json(page.explained)} if page.explained else {}),
    }


def _given(view: dict[str, Any]) -> dict[str, Any]:
    """Without what only neurons of experts have."""
    return {name: value for name, value in view.items() if name != "router" or value is not None}


def _planes(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array.view(np.uint8).reshape(len(array), array.itemsize).T).tobytes()


def _plain(source: dict[str, Any]) -> dict[str, Any]:
    """Metadata as JSON has it; what it lacks as text, NaN and infinities as null."""
    return {str(key): _finite(json.loads(json.dumps(value, default=str))) for key, value in source.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value

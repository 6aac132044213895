"""A page's data as one compressed block of text, and back.

Block = base64(gzip(u32 length of header, header as ASCII JSON, padding to 4, arrays)). Arrays are little-endian and
cut into byte planes (all low bytes, then all high bytes), which compress better. The header
lists each distinct token once.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from gluscope.core.cases import CASES, LISTS
from gluscope.page.headline import headline
from gluscope.page.record import CONVENTIONS, NeuronPage, stats_as_json
from gluscope.page.tokens import Token

FORMAT = 1
LIMIT = 880_000  # characters; with the page's own code a file stays below 1 MB
NEAR = 40  # tokens around a listed extreme that always keep full half precision
MANTISSA = 10  # bits that float16 has
COARSER = (7, 6, 5, 4, 3)


def pack(page: NeuronPage, limit: int = LIMIT) -> str:
    """The block, at most `limit` characters if the page's values can be rounded to that.

    Values are float16. Where that is too much, tokens farther than 40 from any listed extreme keep fewer bits; the
    header's `far_bits` says how many.
    """
    block = _block(page, MANTISSA)
    for bits in COARSER:
        if len(block) <= limit:
            break
        block = _block(page, bits)
    return block


def unpack(block: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a block."""
    data = gzip.decompress(base64.b64decode(block))
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


def _block(page: NeuronPage, far_bits: int) -> str:
    table = _Table()
    arrays = {
        "token": table.numbers(token for example in page.examples.values() for token in example.tokens),
        "gate": _values(page, "gate", far_bits),
        "in": _values(page, "in_", far_bits),
        "sample_gate": np.asarray(page.sample.gate, "<f2"),
        "sample_in": np.asarray(page.sample.in_, "<f2"),
        "sample_example": np.asarray(page.sample.example, "<i4"),
        "sample_position": np.asarray(page.sample.position, "<i4"),
        "sample_token": table.numbers(token for context in page.sample.context for token in context),
        "sample_length": np.asarray([len(context) for context in page.sample.context], "<u1"),
        "sample_at": np.asarray(page.sample.at, "<u1"),
    }
    header = _header(page, far_bits) | {
        "tokens": [token.text for token in table.place],
        "kinds": {str(number): int(token.kind) for token, number in table.place.items() if token.kind},
        "arrays": {name: (array.dtype.str, len(array)) for name, array in arrays.items()},
    }
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    text = len(text).to_bytes(4, "little") + text
    text += b" " * (-len(text) % 4)
    data = text + b"".join(map(_planes, arrays.values()))
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


def _planes(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array.view(np.uint8).reshape(len(array), array.itemsize).T).tobytes()


def _header(page: NeuronPage, far_bits: int) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "run": page.run,
        "layer": page.id.layer,
        "neuron": page.id.neuron,
        "convention": page.convention,
        "sign": page.sign,
        "act_fn": page.act_fn,
        "far_bits": far_bits,
        "near": NEAR,
        "headline": {name: headline(page.in_convention(name)) for name in CONVENTIONS},
        "cases": {case.value: stats_as_json(page.cases[case]) for case in CASES},
        "examples": [
            {"row": example.row, "length": len(example.tokens), "source": _plain(example.source)}
            for example in page.examples.values()
        ],
        "weights": page.weights and {name: asdict(view) for name, view in page.weights.items()},
        "provenance": asdict(page.provenance),
    }


def _values(page: NeuronPage, name: str, far_bits: int) -> np.ndarray:
    """One quantity of all examples as float16, one text after another."""
    near = _near(page)
    parts = []
    for row, example in page.examples.items():
        values = np.clip(getattr(example, name), -65504, 65504).astype(np.float16)
        parts.append(np.where(near[row], values, rounded(values, far_bits)).astype("<f2"))
    return np.concatenate(parts) if parts else np.zeros(0, "<f2")


def _near(page: NeuronPage) -> dict[int, np.ndarray]:
    """bool [token] of each example: within NEAR tokens of a listed extreme."""
    near = {row: np.zeros(len(example.tokens), bool) for row, example in page.examples.items()}
    for case, quantity in LISTS:
        for place in page.cases[case].extreme[quantity]:
            near[place.example][max(0, place.position - NEAR) : place.position + NEAR + 1] = True
    return near


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """float16 values with `bits` bits of mantissa, rounded to nearest; never to 0 and never across a sign."""
    drop = MANTISSA - bits
    if drop == 0:
        return values
    raw = values.view(np.uint16).astype(np.uint32)
    size = raw & 0x7FFF
    kept = ((size + (1 << (drop - 1))) >> drop) << drop
    kept = np.where((kept == 0) | (kept >= 0x7C00), size, kept)
    return ((raw & 0x8000) | kept).astype(np.uint16).view(np.float16)


class _Table:
    """Numbers for tokens, in the order of first use. The commonest could come first; gzip gains nothing by it."""

    def __init__(self) -> None:
        self.place: dict[Token, int] = {}

    def numbers(self, tokens: Any) -> np.ndarray:
        return np.asarray([self.place.setdefault(token, len(self.place)) for token in tokens], "<u4")


def _plain(source: dict[str, Any]) -> dict[str, Any]:
    """Metadata as JSON has it; what it lacks as text, NaN and infinities as null."""
    return {str(key): _finite(json.loads(json.dumps(value, default=str))) for key, value in source.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list) else value

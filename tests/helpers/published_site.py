"""A neuron of a published GLUScope site folder as a page's record.

Per list and example such a folder has `{case}_{hook}_example_{i}.json` = {tokens, values [token][label], labels}, and
`vis.html` with a table of frequencies, means and extremes to two decimals. Rows of the data set are not published:
texts get numbers of their own, and texts are cut three tokens after their extreme.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from gluscope.core.cases import CASES, QUANTITIES, Quantity, SignCase
from gluscope.core.errors import StoreError
from gluscope.core.neuron import NeuronId
from gluscope.page.record import CaseStats, Example, Extreme, NeuronPage, PageProvenance, Sample
from gluscope.page.tokens import Token, TokenKind

_AFTER = 3
_SPECIAL = frozenset({"<|endoftext|>", "<s>", "<bos>", "<|begin_of_text|>"})


def read_published(
    folder: str | Path, neuron: NeuronId, *, run: str, sign: int = 0, act_fn: str = "silu"
) -> NeuronPage:
    """The record of one neuron, in the refactored convention.

    sign: the neuron's, which its page does not say. Raises StoreError where `vis.html` is missing or not as expected.
    """
    folder = Path(folder)
    stats = published_stats(folder / "vis.html")
    texts: dict[tuple[str, ...], Example] = {}
    cases = {}
    for case in CASES:
        extreme = {quantity: _list(folder, case, quantity, texts) for quantity in case.listed}
        table = stats[case]
        mean = {quantity: table[quantity]["Avg"] for quantity in QUANTITIES}
        cases[case] = CaseStats(None, stats[case]["frequency"], mean, extreme)
    examples = {example.row: example for example in texts.values()}
    provenance = PageProvenance(
        model=stats["model"],
        source="published",
        decimals=2,
        k=max(len(places) for stat in cases.values() for places in stat.extreme.values()),
        note="Converted from a published GLUScope page: means and frequencies have two decimals, texts end three "
        "tokens after their extreme and have numbers of this page alone, and no tokens were sampled.",
    )
    return NeuronPage(run, neuron, "refactored", sign, act_fn, cases, examples, Sample.empty(), provenance)


def published_stats(path: Path) -> dict[Any, Any]:
    """`model`, and by case `frequency` and, by quantity, {"Max", "Min", "Avg"}, from a published vis.html."""
    try:
        text = path.read_text(encoding="utf-8")
        model = re.findall(r"Model: <b>(.*?)</b>", text)[0]
        shares = re.findall(r"Frequency: <b>([\d.]+)%</b>", text)
        found: dict[Any, Any] = {"model": model}
        for case, share in zip(CASES, shares, strict=True):
            found[case] = {"frequency": float(share) / 100}
        for quantity in QUANTITIES:
            cells = re.findall(rf"<b>{quantity.hook}</b>:<br>(.*?)</td>", text, re.DOTALL)
            for case, cell in zip(CASES, cells, strict=True):
                found[case][quantity] = {name: float(v) for name, v in re.findall(r"(\w+): <b>([-\d.]+)</b>", cell)}
    except (OSError, IndexError, ValueError) as error:
        raise StoreError(str(path), "a published page's table", type(error).__name__, "download it again") from error
    return found


def _list(
    folder: Path, case: SignCase, quantity: Quantity, texts: dict[tuple[str, ...], Example]
) -> tuple[Extreme, ...]:
    places = []
    paths = folder.glob(f"{case.value}_{quantity.hook}_example_*.json")
    for path in sorted(paths, key=lambda path: int(path.stem.rpartition("_")[2])):
        data = json.loads(path.read_text(encoding="utf-8"))
        values = np.asarray(data["values"], np.float32)
        # The table's last four columns: every token's own values. The first: the listed one, 0 outside the case.
        column = {label: index for index, label in enumerate(data["labels"])}
        own = {q: values[:, column[q.hook]] for q in QUANTITIES}
        inside = (np.sign(own[Quantity.GATE]) == case.gate_sign) & (np.sign(own[Quantity.IN]) == case.in_sign)
        position = int(np.argmax(np.where(inside, np.abs(own[quantity]), -1)))
        row = _longest(texts, data["tokens"], own)
        places.append(Extreme(float(own[quantity][position]), row, position))
    return tuple(sorted(places, key=lambda place: -abs(place.value)))


def _longest(texts: dict[tuple[str, ...], Example], tokens: list[str], own: dict[Quantity, np.ndarray]) -> int:
    """The number of a text of which several lists show pieces of different lengths; the longest piece is kept.

    The model is causal: where the tokens agree from the start, so do the values.
    """
    key = next((known for known in texts if all(a == b for a, b in zip(known, tokens, strict=False))), None)
    row = len(texts) if key is None else texts[key].row
    if key is None or len(tokens) > len(key):
        texts.pop(key or (), None)
        shown = [Token(token, TokenKind(token in _SPECIAL)) for token in tokens]
        texts[tuple(tokens)] = Example(row, shown, own[Quantity.GATE], own[Quantity.IN])
    return row

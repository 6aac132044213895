"""Data of all neurons of a run for the start page's finder: a few numbers each, in columns, in one script a layer.

Scripts, because a page opened from disk may load those but not read files. `finder/L3.js` is one call with the block
of layer 3 (see `pack.pack_arrays`): a column is an array over the layer's neurons.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gluscope.core.cases import CASES, Quantity
from gluscope.page.build import TokenRows
from gluscope.page.pack import pack_arrays
from gluscope.page.tokens import TokenTexts
from gluscope.summary.types import LayerSummary
from gluscope.weights.classes import RW_CLASSES
from gluscope.weights.types import COSINES, VECTORS, Cosine, LayerWeights

FOLDER = "finder"
_NO_TOKEN = 0xFFFFFFFF


class Texts(Protocol):
    """What the finder needs of a token data set."""

    def input_ids(self, row: int) -> np.ndarray: ...


def write_finder(
    site: str | Path,
    layers: Iterable[tuple[LayerSummary, LayerWeights | None]],
    *,
    tokens: int,
    convention: str,
    dataset: Texts | TokenRows,
    texts: TokenTexts,
) -> dict[str, Any]:
    """Write `site`/finder/ anew; returns what `render_index(finder=...)` needs.

    layers: statistics in `convention` and weights (raw, as stored), layer by layer from 0. tokens: all that were
    scanned. Memory: one layer.
    """
    final, part = Path(site) / FOLDER, Path(site) / f".{FOLDER}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    numbers: dict[int, int] = {}
    names, rows = [], 0
    for layer, (summary, weights) in enumerate(layers):
        columns = layer_columns(summary, weights, tokens=tokens, convention=convention)
        strongest = strongest_tokens(summary, dataset)
        known = {
            token: numbers.setdefault(token, len(numbers)) for token in np.unique(strongest).tolist() if token >= 0
        }
        columns["token"] = np.array([known.get(token, _NO_TOKEN) for token in strongest.tolist()], "<u4")
        rows += summary.neurons
        names.append(f"L{layer}.js")
        block = pack_arrays({"layer": layer}, columns)
        (part / names[-1]).write_text(f'gluscopeLayer("{block}");\n', encoding="ascii")
    words = pack_arrays({"tokens": [texts.token(token).text for token in numbers]}, {})
    (part / "tokens.js").write_text(f'gluscopeTokens("{words}");\n', encoding="ascii")
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    return {
        "folder": FOLDER,
        "layers": names,
        "rows": rows,
        "weights": weights is not None if names else False,
        "classes": [kind.label for kind in RW_CLASSES],
    }


def layer_columns(
    summary: LayerSummary, weights: LayerWeights | None, *, tokens: int, convention: str
) -> dict[str, np.ndarray]:
    """The numbers of a layer's neurons by column name: shares, strongest posts, and what the weights say."""
    columns: dict[str, np.ndarray] = {}
    for case in CASES:
        post = summary.extreme_value[:, case.index, Quantity.POST.index, 0]
        columns[f"share {case.value}"] = _half(summary.count[:, case.index] / max(1, tokens))
        columns[f"post {case.value}"] = _half(np.nan_to_num(post))
    if weights is not None:
        flip = np.where((weights.sign < 0) & (convention == "refactored"), -1, 1)
        for kind in COSINES:
            turn = flip if kind is not Cosine.IN_OUT else 1
            columns[kind.value] = _half(weights.cosine[:, kind.index] * turn)
        for vector in VECTORS:
            columns[f"norm {vector.value}"] = _half(weights.norm[:, vector.index])
        columns["class"] = weights.rw_class.astype(np.uint8)
    return columns


def strongest_tokens(summary: LayerSummary, dataset: Texts | TokenRows) -> np.ndarray:
    """int64 [neuron], the token id at each neuron's strongest post over all cases; -1 where there is none."""
    post = Quantity.POST.index
    first = np.nan_to_num(np.abs(summary.extreme_value[:, :, post, 0]), nan=-1)
    case = np.argmax(first, axis=1)
    neurons = np.arange(summary.neurons)
    row = summary.extreme_example[neurons, case, post, 0]
    position = summary.extreme_position[neurons, case, post, 0]
    found = np.full(summary.neurons, -1, np.int64)
    order = np.argsort(row, kind="stable")
    known = (row >= 0) & (position >= 0)  # published activations say no positions
    for index in order[known[order]].tolist():
        found[index] = dataset.input_ids(int(row[index]))[position[index]]
    return found


def _half(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(values, -65504, 65504), "<f2")

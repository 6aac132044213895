"""Data of all neurons of a run for the start page's finder.

Scripts, because a page opened from disk may load those but not read files; each is one call with a block (see
`pack.pack_arrays`). `finder/L3.js` has a few numbers of each neuron of layer 3: a column is an array over its neurons.
`finder/L3-lists.js` has their lists' commonest tokens (`L3-lists-0.js`, `L3-lists-1.js` and on those of `OWN` neurons
each, where a layer has more), `lists-0.js` and on the way from tokens to lists (see
`finder_tokens`), `ends-0.js` and on the same for what the weights read and write, `tokens.js` the tokens' texts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.cases import CASES, Quantity
from gluscope.core.convention import view
from gluscope.page.finder_tokens import (
    END_NAMES,
    LIST_NAMES,
    SHOWN,
    Texts,
    TokenIndex,
    commonest,
    counted,
    listed_tokens,
    ranked,
    tokens_at,
    weight_tokens,
    write_script,
)
from gluscope.page.pack import pack_arrays
from gluscope.page.tokens import TokenTexts
from gluscope.summary.types import LayerSummary
from gluscope.weights.classes import RW_CLASSES
from gluscope.weights.types import COSINES, VECTORS, LayerWeights

FOLDER = "finder"
OWN = 16_384  # neurons whose lists' tokens are taken together, and stand in one file
_NO_TOKEN = 0xFFFFFFFF


def write_finder(
    site: str | Path,
    layers: Iterable[tuple[LayerSummary, LayerWeights | None]],
    *,
    tokens: int,
    convention: str,
    dataset: Texts,
    texts: TokenTexts,
    effects: Mapping[int, Mapping[int, float]] | None = None,
) -> dict[str, Any]:
    """Write `site`/finder/ anew; returns what `render_index(finder=...)` needs.

    layers: statistics in `convention` and weights (raw, as stored), layer by layer from 0. tokens: all that were
    scanned. effects: measured, a number (`Effect.largest`) by layer and place; None for a run that measures none.
    Memory: one layer, the tokens of `OWN` neurons' lists, then a file of the index.
    """
    final, part = Path(site) / FOLDER, Path(site) / f".{FOLDER}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    lists, ends = TokenIndex(part, "lists", len(LIST_NAMES)), TokenIndex(part, "ends", len(END_NAMES))
    known: set[int] = set()
    names, rows, k = [], 0, 0
    for layer, (summary, weights) in enumerate(layers):
        columns = layer_columns(summary, weights, tokens=tokens, convention=convention)
        if effects is not None:
            columns["effect"] = _column(effects.get(layer, {}), summary.neurons)
        strongest = strongest_tokens(summary, dataset)
        columns["token"] = np.where(strongest < 0, _NO_TOKEN, strongest).astype("<u4")
        names.append(f"L{layer}.js")
        write_script(part / names[-1], pack_arrays({"layer": layer}, columns))
        for begin in range(0, summary.neurons, OWN):
            stretch = slice(begin, begin + OWN)
            listed = counted(listed_tokens(summary, dataset, stretch))
            lists.add(rows + begin, *listed)
            neurons = min(OWN, summary.neurons - begin)
            own = commonest(*listed, neurons * len(LIST_NAMES))
            known.update(np.unique(listed[1]).tolist())
            if weights is not None:
                read = ranked(weight_tokens(weights, convention, stretch))
                ends.add(rows + begin, *read)
                own |= {f"end {name}": column for name, column in
                        commonest(*read, neurons * len(END_NAMES)).items()}  # fmt: skip
                known.update(np.unique(read[1]).tolist())
            number = f"-{begin // OWN}" if summary.neurons > OWN else ""
            write_script(part / f"L{layer}-lists{number}.js", pack_arrays({"layer": layer, "first": begin}, own))
        rows, k = rows + summary.neurons, summary.k
    ids = np.array(sorted(known), np.int64)
    words = {"tokens": [texts.token(token).text for token in ids.tolist()]}
    write_script(part / "tokens.js", pack_arrays(words, {"id": ids.astype("<u4")}))
    about = {
        "folder": FOLDER,
        "layers": names,
        "bytes": sum((part / name).stat().st_size for name in names),
        "rows": rows,
        "own": OWN,
        "k": k,
        "convention": convention,
        "shown": SHOWN,
        "weights": weights is not None if names else False,
        "classes": [kind.label for kind in RW_CLASSES],
        "lists": lists.about(LIST_NAMES),
        "ends": ends.about(END_NAMES),
    }
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    return about


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
        cosine = view(weights, weights.sign, "raw", convention).cosine
        for kind in COSINES:
            columns[kind.value] = _half(cosine[:, kind.index])
        for vector in VECTORS:
            columns[f"norm {vector.value}"] = _half(weights.norm[:, vector.index])
        columns["class"] = weights.rw_class.astype(np.uint8)
    return columns


def strongest_tokens(summary: LayerSummary, dataset: Texts) -> np.ndarray:
    """int64 [neuron], the token id at each neuron's strongest post over all cases; -1 where there is none."""
    post = Quantity.POST.index
    first = np.nan_to_num(np.abs(summary.extreme_value[:, :, post, 0]), nan=-1)
    at = np.arange(summary.neurons), np.argmax(first, axis=1), post, 0
    return tokens_at(summary.extreme_example[at], summary.extreme_position[at], dataset)


def _column(known: Mapping[int, float], neurons: int) -> np.ndarray:
    """float16 [neuron]: numbers by place, which are not negative; -1 where none is known."""
    column = np.full(neurons, -1.0)
    column[list(known)] = list(known.values())
    return _half(column)


def _half(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(values, -65504, 65504), "<f2")

"""The record of a page from a run's results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from gluscope.core.cases import CASES, LISTS, QUANTITIES, Quantity, SignCase
from gluscope.core.convention import view
from gluscope.core.errors import WrongFile
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.core.size import Size
from gluscope.effect.types import Effect
from gluscope.explain.types import Explanation
from gluscope.page.contexts import AFTER, BEFORE, Contexts
from gluscope.page.descriptions_view import DescriptionsView
from gluscope.page.effect_view import effect_view
from gluscope.page.example_texts import ExampleTexts, TokenRows
from gluscope.page.record import CaseStats, Example, Extreme, NeuronPage, PageProvenance, Sample
from gluscope.page.tokens import TokenTexts
from gluscope.page.weights_view import weights_views
from gluscope.recompute.types import Recomputed
from gluscope.store.damage import to_redo
from gluscope.summary.types import LayerSummary, SampleTokens
from gluscope.weights.types import NeuronWeights


def build_page(
    *,
    run: str,
    neuron: NeuronId,
    summary: LayerSummary,
    sample: SampleTokens,
    contexts: Contexts,
    recomputed: Recomputed,
    example_texts: ExampleTexts,
    texts: TokenTexts,
    act_fn: str,
    convention: str,
    sign: int,
    tokens: int,
    provenance: PageProvenance,
    weights: NeuronWeights | None = None,
    reached: int | None = None,
    size: Size | None = None,
    effect: Effect | None = None,
    descriptions: DescriptionsView | None = None,
    explained: Explanation | None = None,
) -> NeuronPage:
    """Everything that one page shows.

    summary: of this neuron alone (1 neuron), in `convention`. sign: the neuron's, -1 = the refactored convention
    negates w_in and w_out. contexts: of `sample`. tokens: all real tokens scanned, by which frequencies are counts
    over tokens. weights, effect, explained: in the raw convention. provenance: source, cache_dtype, tokens, k and the
    differences are filled in here. reached: see NeuronPage. descriptions: in `convention`. size: of a model with
    experts, to name other neurons.
    Raises WrongFile if a listed text is not among the recomputed ones, or has another length in the data set.
    """
    raw = _examples(run, neuron, recomputed, example_texts)
    examples = {row: view(example, sign, "raw", convention) for row, example in raw.items()}
    cases = {case: _case(summary, case, tokens) for case in CASES}
    wanted = {place.example for stats in cases.values() for places in stats.extreme.values() for place in places}
    if missing := sorted(wanted - set(examples)):
        raise _stale(run, neuron, f"text {missing[0]} of its lists", "none")
    page = NeuronPage(
        run=run,
        id=neuron,
        convention=convention,
        sign=int(sign),
        act_fn=act_fn,
        cases=cases,
        examples=examples,
        sample=_sampled(summary, sample, contexts),
        provenance=provenance,
        weights=None if weights is None else weights_views(weights, texts, size),
        reached=reached,
        numbers=example_texts.numbers,
        effect=None if effect is None else view(effect_view(effect, texts), sign, "raw", convention),
        descriptions=descriptions,
        explained=explained and view(explained, sign, "raw", convention),
    )
    return _with_provenance(page, recomputed, tokens, summary.k)


def _with_provenance(page: NeuronPage, recomputed: Recomputed, tokens: int, k: int) -> NeuronPage:
    absolute, relative = largest_difference(page)
    known = replace(
        page.provenance,
        source=recomputed.source,
        cache_dtype="" if recomputed.source == "model" else recomputed.dtype,
        tokens=tokens,
        k=k,
        difference=absolute,
        relative_difference=relative,
    )
    return replace(page, provenance=known)


def _sampled(summary: LayerSummary, sample: SampleTokens, contexts: Contexts) -> Sample:
    """Those of the sampled tokens that reach the neuron."""
    gate, in_ = summary.sample_gate[0], summary.sample_in[0]
    example, position = np.asarray(sample.example), np.asarray(sample.position)
    kept = np.flatnonzero(~np.isnan(gate))
    if len(kept) < len(gate):
        known = kept.tolist() if contexts.tokens else []
        contexts = Contexts([contexts.tokens[i] for i in known], [contexts.at[i] for i in known])
        gate, in_, example, position = gate[kept], in_[kept], example[kept], position[kept]
    return Sample(gate, in_, example, position, contexts)


def largest_difference(page: NeuronPage) -> tuple[float | None, float | None]:
    """Largest |listed value - recomputed value at its place|, and the largest such difference over |listed value|."""
    absolute, relative = [], []
    for case, quantity in LISTS:
        places = page.cases[case].extreme[quantity]
        for place, value in zip(places, page.values_at(quantity, places).tolist(), strict=True):
            gap = abs(place.value - value)
            absolute.append(gap)
            relative.append(gap / max(abs(place.value), float(np.finfo(np.float32).tiny)))
    return max(absolute, default=None), max(relative, default=None)


def _case(summary: LayerSummary, case: SignCase, tokens: int) -> CaseStats:
    count = int(summary.count[0, case.index])
    sums = summary.sum[0, case.index]
    return CaseStats(
        count=count,
        frequency=count / tokens if tokens else None,
        mean={quantity: float(sums[quantity.index]) / count if count else None for quantity in QUANTITIES},
        extreme={quantity: _places(summary, case, quantity) for quantity in case.listed},
    )


def _places(summary: LayerSummary, case: SignCase, quantity: Quantity) -> tuple[Extreme, ...]:
    at = (0, case.index, quantity.index)
    rows = summary.extreme_example[at]
    filled = [
        Extreme(float(value), int(row), int(position))
        for value, row, position in zip(summary.extreme_value[at], rows, summary.extreme_position[at], strict=True)
        if row >= 0
    ]
    return tuple(filled)


def _examples(run: str, neuron: NeuronId, recomputed: Recomputed, texts: ExampleTexts) -> dict[int, Example]:
    examples = {}
    starts = np.concatenate([[0], np.cumsum(recomputed.lengths)]).astype(np.int64)
    for index, row in enumerate(map(int, recomputed.rows)):
        part = slice(int(starts[index]), int(starts[index + 1]))
        text = texts[row]
        if len(text.tokens) != part.stop - part.start:
            raise _stale(run, neuron, f"{len(text.tokens)} tokens in text {row}", str(part.stop - part.start))
        gate, in_ = (np.asarray(values[part], np.float32) for values in (recomputed.gate, recomputed.in_))
        if text.skipped.any():
            gate, in_ = gate * ~text.skipped, in_ * ~text.skipped
        weight = None if recomputed.weight is None else recomputed.weight[part]
        examples[row] = Example(row, text.tokens, gate, in_, text.source, text.turns, weight, text.numbers)
    return examples


def contexts_of(sample: SampleTokens, dataset: TokenRows, texts: TokenTexts) -> Contexts:
    """The tokens around the sampled ones of a run."""
    tokens, at = [], []
    last, ids = None, np.zeros(0, np.int32)
    for row, position in zip(sample.example.tolist(), sample.position.tolist(), strict=True):
        if row != last:
            last, ids = row, dataset.input_ids(row)
        start = max(0, position - BEFORE)
        tokens.append(texts.tokens(ids[start : position + AFTER + 1].tolist()))
        at.append(position - start)
    return Contexts(tokens, at)


def _stale(run: str, neuron: NeuronId, expected: str, found: str) -> Exception:
    path = RunPaths(run).neuron(neuron)
    return to_redo(WrongFile, Path(path), path, expected, found)

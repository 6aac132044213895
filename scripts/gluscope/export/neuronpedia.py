"""Neurons in Neuronpedia's export layout, one source a layer and sign case: `v1/MODEL/5-gluscope-gate-pos-in-neg/`.
Those of an expert have sources of their own, `5-gluscope-e12-gate-pos-in-neg`.

    release.jsonl  model.jsonl  sourceset.jsonl  source.jsonl     one line each
    features/batch-0.jsonl.gz                                     one line a neuron
    activations/batch-0.jsonl.gz                                  one line a text
    explanations/batch-0.jsonl.gz                                 one line for what is said in words, if anything is

Neuronpedia knows one value a token, and takes it to be at least 0: it frames the largest, colours by size, sorts by it.
A gated neuron has four cases, so each is a source of its own, whose value is |post| inside the case and 0 outside. The
texts are those of the case's list of post. gate, in and act do not come along. Fields: docs/exports.md.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.neuron import is_routed
from gluscope.export.neuronpedia_source import Release, line, storable, write_headers
from gluscope.export.neuronpedia_words import explanations
from gluscope.page.record import Extreme, NeuronPage
from gluscope.store.atomic import new_folder
from gluscope.store.listing import write_listing

BATCH = 1024  # neurons in one pair of files
BEFORE, WIDTH = 96, 128  # tokens kept before an extreme, and in all
_BARS = 50
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def write_neuronpedia(folder: str | Path, release: Release, neurons: Iterable[NeuronPage]) -> dict[str, int]:
    """Write `folder` anew, whole or not at all; returns the number of neurons of each source.

    neurons: sorted by layer, in the run's convention. Memory: one neuron.
    """
    counts: dict[str, int] = {}
    with new_folder(folder) as part:
        for (layer, expert), pages in groupby(neurons, lambda page: (page.id.layer, page.id.expert)):
            places = {case: part / "v1" / release.model / release.source(layer, case, expert) for case in CASES}
            for case, place in places.items():
                for kind in ("features", "activations"):
                    (place / kind).mkdir(parents=True)
                write_headers(place, release, layer, case, expert)
            written = sum(
                _write_batch(places, f"batch-{number}.jsonl.gz", batch, release)
                for number, batch in enumerate(_batches(pages))
            )
            counts |= {release.source(layer, case, expert): written for case in CASES}
        content = {"model": release.model, "release": release.release, "sources": counts}
        (part / "sources.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        write_listing(part)
    return counts


def _batches(pages: Iterator[NeuronPage]) -> Iterator[Iterator[NeuronPage]]:
    """Pages, BATCH at a time; each batch is to be used up before the next."""
    for first in pages:
        yield chain([first], islice(pages, BATCH - 1))


def _write_batch(places: dict[SignCase, Path], name: str, pages: Iterable[NeuronPage], release: Release) -> int:
    """A batch of each case's source. Equal lines make equal files: no time stands in them."""
    written = 0
    with ExitStack() as stack:

        def file(path: Path) -> gzip.GzipFile:
            return stack.enter_context(gzip.GzipFile("", "wb", 5, stack.enter_context(open(path, "wb")), mtime=0))

        files = {case: (file(at / "features" / name), file(at / "activations" / name)) for case, at in places.items()}
        words: dict[SignCase, gzip.GzipFile] = {}  # files that are there where somebody says something
        for page in pages:
            for case, (features, texts) in files.items():
                features.write(line(feature(page, case, release)))
                texts.writelines(line(one) for one in activations(page, case, release))
                for said in explanations(page, case, release):
                    if case not in words:
                        (places[case] / "explanations").mkdir(exist_ok=True)
                        words[case] = file(places[case] / "explanations" / name)
                    words[case].write(line(said))
            written += 1
    return written


def feature(page: NeuronPage, case: SignCase, release: Release) -> dict[str, Any]:
    """A neuron's line of features/ in a case's source. What is not known is empty or null."""
    heights, values = _histogram(page, case)
    promoted, suppressed = _written(page, case)
    empty: dict[str, Any] = {
        f"{group}_{kind}": []
        for group, last in (("neuron_alignment", "values"), ("correlated_neurons", "pearson"),
                            ("correlated_features", "pearson"))
        for kind in ("indices", last, "l1")
    }  # fmt: skip
    return {
        "modelId": release.model,
        "layer": release.source(page.id.layer, case, page.id.expert),
        "index": str(page.id.neuron),
        **release.common,
        "maxActApprox": _strongest(page, case),
        "hasVector": False,
        "vector": [],
        "vectorLabel": None,
        "vectorDefaultSteerStrength": None,
        "hookName": f"blocks.{page.id.layer}.{_hook_of(page.id.expert)}.hook_post",
        "topkCosSimIndices": [],
        "topkCosSimValues": [],
        **empty,
        "neg_str": [text for text, _ in suppressed],
        "neg_values": [score for _, score in suppressed],
        "pos_str": [text for text, _ in promoted],
        "pos_values": [score for _, score in promoted],
        "frac_nonzero": page.cases[case].frequency or 0.0,
        "freq_hist_data_bar_heights": heights,
        "freq_hist_data_bar_values": values,
        "logits_hist_data_bar_heights": [],
        "logits_hist_data_bar_values": [],
        "decoder_weights_dist": [],
    }


def _hook_of(expert: str) -> str:
    """Where TransformerLens hooks an MLP; of shared experts, for which it has no name, a like one."""
    if not expert:
        return "mlp"
    return f"mlp.experts.{expert[1:]}" if is_routed(expert) else f"mlp.shared_experts.{expert[2:] or 0}"


def activations(page: NeuronPage, case: SignCase, release: Release) -> Iterator[dict[str, Any]]:
    """A neuron's lines of activations/ in a case's source: a text of each place of the case's list of post."""
    for place in page.cases[case].extreme[Quantity.POST]:
        values = _values(page, case, place)
        begin = max(0, min(place.position - BEFORE, len(values) - WIDTH))
        kept = slice(begin, begin + WIDTH)
        values = values[kept]
        yield {
            "id": _id(release.model, page, case, place),
            "tokens": [storable(token.text) for token in page.examples[place.example].tokens[kept]],
            "index": str(page.id.neuron),
            "layer": release.source(page.id.layer, case, page.id.expert),
            "modelId": release.model,
            "maxValue": float(values.max()),
            "maxValueTokenIndex": int(values.argmax()),
            "minValue": float(values.min()),
            "values": values.tolist(),
            **release.common,
            "dataSource": release.dataset,
            "dataIndex": str(place.example),
            "dfaValues": [],
            "dfaTargetIndex": None,
            "dfaMaxValue": None,
            "lossValues": [],
            "logitContributions": None,
            "binMin": 0.0,
            "binMax": _strongest(page, case),
            "binContains": page.cases[case].frequency,
            "qualifyingTokenIndex": place.position - begin,
        }


def _values(page: NeuronPage, case: SignCase, place: Extreme) -> np.ndarray:
    """|post| inside the case, 0 outside: float32 [token]. The extreme has the value by which its list is sorted."""
    own = page.values(place.example)
    inside = case.holds(own[Quantity.GATE], own[Quantity.IN])
    values = np.where(inside, np.abs(own[Quantity.POST]), np.float32(0))
    values[place.position] = abs(place.value)
    return values


def _strongest(page: NeuronPage, case: SignCase) -> float:
    places = page.cases[case].extreme[Quantity.POST]
    return abs(places[0].value) if places else 0.0


def _written(page: NeuronPage, case: SignCase) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Tokens that the neuron promotes and suppresses in this case, with what they gain for each unit of |post|.

    Where post is negative the neuron writes -w_out.
    """
    if not page.weights:
        return [], []
    out = page.weights[page.convention].vectors["out"]
    sign = case.sign(Quantity.POST)
    ends = (out.top, out.bottom) if sign > 0 else (out.bottom, out.top)
    promoted, suppressed = ([(storable(text), sign * score) for text, score in end] for end in ends)
    return promoted, suppressed


def _histogram(page: NeuronPage, case: SignCase) -> tuple[list[float], list[float]]:
    """Heights and middles of bars over |post| at the sampled tokens of the case; empty where there are none."""
    gate, in_ = page.sample.gate, page.sample.in_
    inside = case.holds(gate, in_)
    if not inside.any():
        return [], []
    post = np.abs(page.act(gate[inside]).astype(np.float64) * in_[inside])
    heights, edges = np.histogram(post, _BARS)
    return heights.astype(float).tolist(), ((edges[1:] + edges[:-1]) / 2).tolist()


def _id(model: str, page: NeuronPage, case: SignCase, place: Extreme) -> str:
    """25 letters and digits, as Neuronpedia's ids; the same for the same text of the same neuron."""
    what = f"{model} {page.id} {page.convention} {case.value} {place.example} {place.position}"
    number = int.from_bytes(hashlib.sha256(what.encode()).digest(), "big")
    digits = []
    for _ in range(24):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "c" + "".join(digits)

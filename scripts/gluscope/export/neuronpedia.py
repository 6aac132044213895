"""Neurons in Neuronpedia's export layout, one source a layer: `v1/MODEL/5-gluscope-post/`.

    release.jsonl  model.jsonl  sourceset.jsonl  source.jsonl     one line each
    features/batch-0.jsonl.gz                                     one line a neuron
    activations/batch-0.jsonl.gz                                  one line a text

Neuronpedia knows one value a token: here it is post, with its sign. The texts are those of post's lists in all four
cases, negative ones included; `binMin`, `binMax` and `binContains` say which case a text stands for: the range of post
there, and the share of tokens. gate, in and act do not come along. Fields: docs/exports.md.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.page.record import Extreme, NeuronPage
from gluscope.store.atomic import new_folder

SET = "gluscope-post"
BATCH = 1024  # neurons in one pair of files
BEFORE, WIDTH = 96, 128  # tokens kept before an extreme, and in all
_BARS = 50
# The id under which Neuronpedia's own scripts file what has no user of theirs.
_CREATOR = "clkht01d40000jv08hvalcvly"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Origin:
    """What all lines say of a run. about: the attributes of its summary. longest: tokens of the longest text."""

    run: str
    about: dict[str, Any]
    n_layers: int
    d_model: int
    d_mlp: int
    longest: int
    created: datetime

    @property
    def local(self) -> bool:
        """The model lies in a folder and has no id of a hub."""
        return str(self.about["model_revision"]).startswith("sha256:")

    @property
    def model(self) -> str:
        """Neuronpedia's id of the model: as the hub's, without owner, in lower case; of a folder the run's name."""
        name = self.run if self.local else self.about["model"].rpartition("/")[2]
        return re.sub(r"[^a-z0-9.-]", "-", name.lower())

    @property
    def release(self) -> str:
        return re.sub(r"[^a-z0-9-]", "-", f"gluscope-{self.run}".lower())

    @property
    def common(self) -> dict[str, Any]:
        return {"creatorId": _CREATOR, "createdAt": self.created.isoformat()}

    def source(self, layer: int) -> str:
        return f"{layer}-{SET}"


def write_neuronpedia(folder: str | Path, origin: Origin, neurons: Iterable[NeuronPage]) -> dict[str, int]:
    """Write `folder` anew, whole or not at all; returns the number of neurons of each source.

    neurons: sorted by layer, in the run's convention. Memory: one neuron.
    """
    counts: dict[str, int] = {}
    with new_folder(folder) as part:
        for layer, pages in groupby(neurons, lambda page: page.id.layer):
            place = part / "v1" / origin.model / origin.source(layer)
            for kind in ("features", "activations"):
                (place / kind).mkdir(parents=True)
            _write_headers(place, origin, layer)
            counts[origin.source(layer)] = sum(
                _write_batch(place, f"batch-{number}.jsonl.gz", batch, origin)
                for number, batch in enumerate(_batches(pages))
            )
        content = {"model": origin.model, "release": origin.release, "sources": counts}
        (part / "sources.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return counts


def _batches(pages: Iterator[NeuronPage]) -> Iterator[Iterator[NeuronPage]]:
    """Pages, BATCH at a time; each batch is to be used up before the next."""
    for first in pages:
        yield chain([first], islice(pages, BATCH - 1))


def _write_batch(place: Path, name: str, pages: Iterable[NeuronPage], origin: Origin) -> int:
    """Equal lines make equal files: no time stands in them."""
    written = 0
    with ExitStack() as stack:
        files = (stack.enter_context(open(place / kind / name, "wb")) for kind in ("features", "activations"))
        features, texts = (stack.enter_context(gzip.GzipFile("", "wb", 5, file, mtime=0)) for file in files)
        for page in pages:
            features.write(_line(feature(page, origin)))
            texts.writelines(_line(one) for one in activations(page, origin))
            written += 1
    return written


def feature(page: NeuronPage, origin: Origin) -> dict[str, Any]:
    """A neuron's line of features/. What is not known is empty or null."""
    written = page.weights[page.convention].vectors["out"] if page.weights else None
    heights, values = _histogram(page)
    top, bottom = (written.top, written.bottom) if written else ((), ())
    empty: dict[str, Any] = {
        f"{group}_{kind}": []
        for group, last in (("neuron_alignment", "values"), ("correlated_neurons", "pearson"),
                            ("correlated_features", "pearson"))
        for kind in ("indices", last, "l1")
    }  # fmt: skip
    return {
        "modelId": origin.model,
        "layer": origin.source(page.id.layer),
        "index": str(page.id.neuron),
        **origin.common,
        "maxActApprox": max([0.0, *(place.value for _, place in _places(page))]),
        "hasVector": False,
        "vector": [],
        "vectorLabel": None,
        "vectorDefaultSteerStrength": None,
        "hookName": f"blocks.{page.id.layer}.mlp.hook_post",
        "topkCosSimIndices": [],
        "topkCosSimValues": [],
        **empty,
        "neg_str": [text for text, _ in bottom],
        "neg_values": [score for _, score in bottom],
        "pos_str": [text for text, _ in top],
        "pos_values": [score for _, score in top],
        "frac_nonzero": sum(page.cases[case].frequency or 0.0 for case in CASES),
        "freq_hist_data_bar_heights": heights,
        "freq_hist_data_bar_values": values,
        "logits_hist_data_bar_heights": [],
        "logits_hist_data_bar_values": [],
        "decoder_weights_dist": [],
    }


def activations(page: NeuronPage, origin: Origin) -> Iterator[dict[str, Any]]:
    """A neuron's lines of activations/: a text of each place of post's lists, by case."""
    for case, place in _places(page):
        post = page.values(place.example)[Quantity.POST]
        begin = max(0, min(place.position - BEFORE, len(post) - WIDTH))
        values = post[begin : begin + WIDTH]
        stats = page.cases[case]
        strongest = stats.extreme[Quantity.POST][0].value
        yield {
            "id": _id(origin.model, page, case, place),
            "tokens": [token.text for token in page.examples[place.example].tokens[begin : begin + WIDTH]],
            "index": str(page.id.neuron),
            "layer": origin.source(page.id.layer),
            "modelId": origin.model,
            "maxValue": float(values.max()),
            "maxValueTokenIndex": int(values.argmax()),
            "minValue": float(values.min()),
            "values": values.tolist(),
            **origin.common,
            "dataSource": str(origin.about["dataset"]),
            "dataIndex": str(place.example),
            "dfaValues": [],
            "dfaTargetIndex": None,
            "dfaMaxValue": None,
            "lossValues": [],
            "logitContributions": None,
            "binMin": min(0.0, strongest),
            "binMax": max(0.0, strongest),
            "binContains": stats.frequency,
            "qualifyingTokenIndex": place.position - begin,
        }


def _places(page: NeuronPage) -> list[tuple[SignCase, Extreme]]:
    return [(case, place) for case in CASES for place in page.cases[case].extreme[Quantity.POST]]


def _histogram(page: NeuronPage) -> tuple[list[float], list[float]]:
    """Heights and middles of bars over post at the sampled tokens; empty where none were sampled."""
    if not len(page.sample.gate):
        return [], []
    post = page.act(page.sample.gate).astype(np.float64) * page.sample.in_
    heights, edges = np.histogram(post, _BARS)
    return heights.astype(float).tolist(), ((edges[1:] + edges[:-1]) / 2).tolist()


def _write_headers(folder: Path, origin: Origin, layer: int) -> None:
    about, name = origin.about, f"{origin.about['model']} by GLUScope"
    what = "MLP neurons: post, signed (the four cases of gate and in)"
    notes = f"GLUScope run {origin.run}, {about['convention']} sign convention, {about['tokens']} tokens"
    headers: dict[str, dict[str, Any]] = {
        "release": {
            "name": origin.release,
            "description": f"Gated neurons of {name}",
            "descriptionShort": f"Gated neurons of {name}",
            "creatorName": "GLUScope",
            "creatorNameShort": "GLUScope",
            "urls": [],
            "visibility": "PUBLIC",
        },
        "model": {
            "id": origin.model,
            "displayName": origin.model,
            "displayNameShort": origin.model,
            "instruct": False,
            "tlensId": None if origin.local else about["model"],
            "dimension": origin.d_model,
            "layers": origin.n_layers,
            "neuronsPerLayer": origin.d_mlp,
            "owner": "" if origin.local else about["model"].rpartition("/")[0],
            "inferenceEnabled": False,
            "visibility": "PUBLIC",
            "updatedAt": origin.created.isoformat(),
        },
        "sourceset": {
            "modelId": origin.model,
            "name": SET,
            "description": what,
            "type": "neurons",
            "creatorName": "GLUScope",
            "releaseName": origin.release,
            "visibility": "PUBLIC",
            "hasDashboards": True,
        },
        "source": {
            "id": origin.source(layer),
            "modelId": origin.model,
            "setName": SET,
            "dataset": str(about["dataset"]),
            "num_prompts": about["rows"],
            "num_tokens_in_prompt": origin.longest,
            "notes": notes,
            "hasDashboards": True,
            "inferenceEnabled": False,
            "visibility": "PUBLIC",
        },
    }
    for kind, content in headers.items():
        (folder / f"{kind}.jsonl").write_bytes(_line(content | origin.common))


def _line(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, allow_nan=False) + "\n").encode("ascii")


def _id(model: str, page: NeuronPage, case: SignCase, place: Extreme) -> str:
    """25 letters and digits, as Neuronpedia's ids; the same for the same text of the same neuron."""
    what = f"{model} {page.id} {page.convention} {case.value} {place.example} {place.position}"
    number = int.from_bytes(hashlib.sha256(what.encode()).digest(), "big")
    digits = []
    for _ in range(24):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "c" + "".join(digits)

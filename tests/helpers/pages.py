"""Neuron pages from made-up activations: small ones with every kind of awkward text, and the largest there can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gluscope.core.activation import act
from gluscope.core.cases import CASES, QUANTITIES, Quantity
from gluscope.core.neuron import NeuronId
from gluscope.page.build import build_page, contexts_of
from gluscope.page.example_texts import ExampleTexts
from gluscope.page.record import NeuronPage, PageProvenance
from gluscope.page.tokens import TokenTexts
from gluscope.recompute.types import Recomputed
from gluscope.summary.types import LayerSummary, SampleTokens
from gluscope.weights.classes import RW_CLASSES
from gluscope.weights.types import COSINES, QUANTILES, VECTORS, NearNeuron, NeuronWeights, TokenEnds, TokenScore
from helpers.summaries import refactor

HOSTILE = (
    "<script>window.hacked=1</script>", "</script><script>window.hacked=1</script>", "<!--", "-->", "<!--<script>",
    "]]>", "<img src=x onerror=window.hacked=1>", "\x00", "\x1b[31m", "\ud800", "\u202eevil", "\u200f", "\"'`",
    "&lt;b&gt;", "&", "{{ 7*7 }}", "{% raw %}", "</textarea></title></style>", "javascript:window.hacked=1", 
    "${window.hacked=1}", "\u2028", "\ufeff", "\r\n", "\\u003c", "<svg/onload=window.hacked=1>",
)  # fmt: skip
READABLE = (
    " the",
    " cat",
    "\n",
    "\n\n",
    "\t",
    "    ",
    " ",
    " שלום",
    " مرحبا",
    "你好",
    "世界",
    "é",
    " naïve",
    "👍",
    "a" * 60,
)


@dataclass
class Rows:
    """A token data set in memory."""

    ids: list[np.ndarray]
    source: list[dict[str, Any]]

    def input_ids(self, row: int) -> np.ndarray:
        return self.ids[row]

    def turns(self, row: int) -> list[tuple[int, int, str]]:
        return []

    def metadata(self, row: int) -> dict[str, Any]:
        return self.source[row]


def of_texts(rows: np.ndarray, lengths: np.ndarray, gate: np.ndarray, in_: np.ndarray) -> Recomputed:
    """What the cache would give of a neuron; see `Recomputed`."""
    return Recomputed(0, 0, rows, lengths, gate, in_, "cache", "float16", np.inf, np.inf)


@dataclass
class Made:
    """What a page was built from, all in the raw convention, for tests to compute from by themselves."""

    rows: Rows
    gate: list[np.ndarray]
    in_: list[np.ndarray]
    summary: LayerSummary
    sample: SampleTokens
    arguments: dict[str, Any] = field(default_factory=dict)

    def build(self, **changes: Any) -> NeuronPage:
        """The page; `convention="refactored"` turns the summary as the merge stage would."""
        arguments = self.arguments | changes
        if arguments["convention"] == "refactored":
            arguments["summary"] = refactor(arguments["summary"], np.array([arguments["sign"]], np.int8))
        dataset, texts = arguments.pop("dataset"), arguments["texts"]
        contexts = contexts_of(arguments["sample"], dataset, texts)
        return build_page(contexts=contexts, example_texts=ExampleTexts(dataset, texts), **arguments)


def tokenizer(words: tuple[str, ...]) -> TokenTexts:
    """Token 0 is BOS, token i + 1 is words[i] as it is."""
    added = [{"id": 0, "content": "<|endoftext|>", "special": True}]
    added += [{"id": i + 1, "content": word, "special": False} for i, word in enumerate(words)]
    return TokenTexts({"model": {"vocab": {}}, "added_tokens": added})


def make(
    *,
    texts: int = 12,
    length: int = 60,
    k: int = 4,
    samples: int = 50,
    seed: int = 0,
    words: tuple[str, ...] | None = None,
) -> Made:
    """A neuron over random texts; every awkward word stands in some text. One token has gate 0."""
    rng = np.random.default_rng(seed)
    words = HOSTILE + READABLE if words is None else words
    lengths = rng.integers(max(1, length // 2), length + 1, texts)
    ids = [np.concatenate([[0], rng.permutation(np.resize(np.arange(len(words)) + 1, n - 1))]) for n in lengths]
    gate = [(rng.standard_normal(n) - 0.5).astype(np.float32) for n in lengths]
    in_ = [rng.standard_normal(n).astype(np.float32) for n in lengths]
    gate[0][1] = 0.0
    source = [{"id": f"doc-{row}", "url": HOSTILE[row % len(HOSTILE)], "score": float("nan")} for row in range(texts)]
    everywhere = [(row, position) for row in range(texts) for position in range(lengths[row])]
    chosen = sorted(everywhere[i] for i in rng.permutation(len(everywhere))[:samples])
    sample = SampleTokens(*(np.array(part) for part in zip(*chosen, strict=True)))
    made = Made(Rows(ids, source), gate, in_, summarise(gate, in_, k, chosen), sample)
    made.arguments = {
        "run": "demo", "neuron": NeuronId(1, 7), "summary": made.summary, "sample": sample, "dataset": made.rows,
        "recomputed": of_texts(np.arange(texts), lengths, np.concatenate(gate), np.concatenate(in_)),
        "texts": tokenizer(words), "act_fn": "silu", "convention": "raw", "sign": -1, "tokens": int(lengths.sum()),
        "provenance": PageProvenance(
            model="org/model <b>", model_revision="abc123", dataset="texts", dataset_revision="f00", examples=texts,
            dtype="float32", device="cuda", reducer="triton", versions={"gluscope": "0.1.0", "torch": "2.13"},
            command="snakemake --cores 2 results/demo/site/L1/N7.html",
        ),
    }  # fmt: skip
    return made


def summarise(gate: list[np.ndarray], in_: list[np.ndarray], k: int, chosen: list[tuple[int, int]]) -> LayerSummary:
    """By the definition, with loops."""
    out = LayerSummary.empty(1, k, len(chosen))
    for case in CASES:
        best: dict[Quantity, list[tuple[float, int, int, float]]] = {quantity: [] for quantity in QUANTITIES}
        for row, (g, u) in enumerate(zip(gate, in_, strict=True)):
            inside = np.flatnonzero((np.sign(g) == case.gate_sign) & (np.sign(u) == case.in_sign))
            values = {quantity: quantity.of(g, u, act("silu")) for quantity in QUANTITIES}
            out.count[0, case.index] += len(inside)
            for quantity, value in values.items():
                out.sum[0, case.index, quantity.index] += value[inside].astype(float).sum()
                if len(inside) and quantity in case.listed:
                    at = max(inside.tolist(), key=lambda i, value=value: (abs(value[i]), -i))
                    best[quantity].append((-abs(float(value[at])), row, at, float(value[at])))
        for quantity, found in best.items():
            for place, (_, row, position, signed) in enumerate(sorted(found)[:k]):
                out.extreme_value[0, case.index, quantity.index, place] = signed
                out.extreme_example[0, case.index, quantity.index, place] = row
                out.extreme_position[0, case.index, quantity.index, place] = position
    out.sample_gate[0] = [gate[row][position] for row, position in chosen]
    out.sample_in[0] = [in_[row][position] for row, position in chosen]
    return out


def weights(n_vocab: int, layers: int = 2, neurons: int = 20, seed: int = 1) -> NeuronWeights:
    """The weight statistics of L1/N7 of a made-up model."""
    rng = np.random.default_rng(seed)
    ends = [TokenEnds(*(tuple(TokenScore(int(i), float(sign * s)) for i, s in zip(
        rng.integers(1, n_vocab, 10), sorted(rng.random(10), reverse=True), strict=True)) for sign in (1, -1)))
        for _ in VECTORS]  # fmt: skip
    cosine = dict(zip(COSINES, (-0.62, 0.31, -0.08), strict=True))
    chance = {kind: tuple(np.linspace(-0.12, 0.15, len(QUANTILES)).tolist()) for kind in COSINES}
    return NeuronWeights(
        layer=1, neuron=7, cosine=cosine, norm=dict(zip(VECTORS, (1.2, 0.9, 1.5), strict=True)),
        norm_quantile=dict(zip(VECTORS, (0.5, 0.31, 0.97), strict=True)), sign=-1, rw_class=RW_CLASSES[4],
        tokens=dict(zip(VECTORS, ends, strict=True)),
        nearest=tuple(NearNeuron(int(rng.integers(layers)), n, 0.4 - 0.05 * n, 1 if n % 2 else -1) for n in range(5)),
        chance=chance, chance_random=tuple(np.linspace(-0.05, 0.05, len(QUANTILES)).tolist()),
        chance_refactored={kind: tuple(np.linspace(-0.1, 0.2, len(QUANTILES)).tolist()) for kind in COSINES},
    )  # fmt: skip


def largest_page(texts: int = 208, length: int = 1024, vocabulary: int = 30_000, seed: int = 3) -> NeuronPage:
    """208 texts of 1024 tokens with Zipf's frequencies of words, k = 16, 4096 sampled tokens."""
    rng = np.random.default_rng(seed)
    letters = np.array(list(" etaoinshrdlucmfwypvbgkjqxz"))
    words = tuple({"".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(vocabulary)})
    made = make(texts=texts, length=8, k=16, samples=200, words=words)
    rank = (np.arange(len(words)) + 2.7) ** -1.1
    ids = [np.concatenate([[0], rng.choice(len(words), length - 1, p=rank / rank.sum()) + 1]) for _ in range(texts)]
    gate = [(0.4 * rng.standard_normal(length) - 0.6).astype(np.float32) for _ in range(texts)]
    in_ = [(0.5 * rng.standard_normal(length)).astype(np.float32) for _ in range(texts)]
    chosen = sorted(
        {(int(r), int(p)) for r, p in zip(rng.integers(0, texts, 4096), rng.integers(0, length, 4096), strict=True)}
    )
    sample = SampleTokens(*(np.array(part) for part in zip(*chosen, strict=True)))
    recomputed = of_texts(np.arange(texts), np.full(texts, length), np.concatenate(gate), np.concatenate(in_))
    return made.build(
        dataset=Rows(ids, made.rows.source), summary=summarise(gate, in_, 16, chosen), sample=sample,
        recomputed=recomputed, tokens=texts * length, weights=weights(len(words)),
    )  # fmt: skip

"""A made-up run on disk, with the sizes of a real one, for timing what pages cost: no model is ever loaded for it.

Its cache holds random numbers, and its lists are what a scan would have found in them, so that the checks of the
recompute stage are satisfied. One layer is there, at full width; a page reads no more of a run than that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from gluscope.cache.writer import CacheWriter
from gluscope.core.convention import CONVENTIONS
from gluscope.core.paths import DatasetPaths, RunPaths, shard_name
from gluscope.dataset.build import build
from gluscope.dataset.sources import fetch
from gluscope.model.spec import ModelSpec
from gluscope.scan.reduce import make_reducer
from gluscope.scan.sample import choose_sample
from gluscope.summary.file import write_summary
from gluscope.summary.types import LayerSummary, SampleTokens
from gluscope.weights.file import write_weights
from gluscope.weights.types import COSINES, NEAREST, QUANTILES, TOKENS, VECTORS, LayerWeights
from helpers.settings import token_settings
from safetensors.numpy import save_file

from benchmark.shapes import Shape, lengths_of_texts

RUN, DATA, K = "madeup", "texts", 16
_GATE, _IN = "model.layers.{layer}.mlp.gate_proj.weight", "model.layers.{layer}.mlp.up_proj.weight"


@dataclass(frozen=True)
class MadeUp:
    """A run's folder. neurons: those whose pages can be made. caches: of the shards, relative to the folder."""

    folder: Path
    shape: Shape
    neurons: int
    tokens: int
    caches: list[str]


def make_run(folder: Path, shape: Shape, tokens: int, neurons: int, shards: int, samples: int = 4096) -> MadeUp:
    """Write it. tokens: in the cache, of all shards together; a page's texts are a part of them."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    lengths = lengths_of_texts(rng, tokens)
    paths = RunPaths(RUN)
    spec, vectors = _write_model(folder, shape, rng, neurons)
    (folder / paths.root).mkdir(parents=True)
    spec.save(folder / paths.model)
    fingerprint = _write_dataset(folder, shape, lengths, rng)
    sample = choose_sample(0, lengths, samples)
    about = {
        "stages": {},
        "model": shape.name, "model_revision": spec.revision, "dataset": DATA, "dataset_revision": "random",
        "dataset_fingerprint": fingerprint, "rows": len(lengths), "tokens": int(lengths.sum()), "k": K,
        "dtype": "float32", "cache_dtype": "float16", "convention": "raw", "versions": {"gluscope": "0"},
    }  # fmt: skip
    caches, summary = _write_caches(folder, shape, lengths, shards, vectors, sample, about)
    whole = _widened(summary, shape.d_mlp)
    sign = np.ones((1, shape.d_mlp), np.int8)
    write_summary(folder / paths.summary, [whole], n_layers=1, sample=sample, attributes=about, sign=sign)
    _write_weights(folder / paths.weights, shape, rng, about)
    (folder / "code.txt").write_text("code\n")
    return MadeUp(folder, shape, neurons, int(lengths.sum()), caches)


def _write_model(
    folder: Path, shape: Shape, rng: np.random.Generator, neurons: int
) -> tuple[ModelSpec, tuple[np.ndarray, np.ndarray]]:
    """One layer's gate and in, and a tokenizer; returns the first neurons' vectors, float32 [neuron, d_model]."""
    scale = shape.d_model**-0.5
    both = [_random(rng, shape.d_mlp, shape.d_model, scale) for _ in range(2)]
    model = folder / "model"
    model.mkdir()
    save_file({_GATE.format(layer=0): both[0], _IN.format(layer=0): both[1]}, model / "model.safetensors")
    write_tokenizer(model, shape.n_vocab)
    spec = ModelSpec(
        model=shape.name, revision="random", folder="model", architecture="LlamaForCausalLM", n_layers=1,
        d_model=shape.d_model, d_mlp=shape.d_mlp, n_vocab=shape.n_vocab, act_fn="silu", gate=_GATE, in_=_IN,
        out="out", embed="embed", unembed="unembed", dtype="float16",
    )  # fmt: skip
    gate, in_ = (part[:neurons].astype(np.float32) for part in both)
    return spec, (gate, in_)


def write_tokenizer(folder: Path, n_vocab: int) -> None:
    """A tokenizer.json as large as a byte-level BPE tokenizer's of that vocabulary, merges included."""
    rng = np.random.default_rng(2)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    made = dict.fromkeys(
        ("Ġ" if number % 2 else "") + "".join(word)
        for number, word in enumerate(letters[rng.integers(0, len(letters), (n_vocab * 2, 6))])
    )
    words = list(made)[:n_vocab]
    merges = [[word[:3], word[3:]] for word in words]
    document = {
        "added_tokens": [{"id": 0, "content": words[0], "special": True}],
        "pre_tokenizer": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {word: number for number, word in enumerate(words)}, "merges": merges},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")


def _write_dataset(folder: Path, shape: Shape, lengths: np.ndarray, rng: np.random.Generator) -> str:
    """Token ids with a few common and many rare ones."""
    source = folder / "texts.jsonl"
    with source.open("w") as file:
        for length in lengths:
            ids = (shape.n_vocab ** rng.random(int(length))).astype(int) - 1
            file.write(json.dumps({"input_ids": ids.tolist(), "url": "https://example.org/text"}) + "\n")
    out = folder / DatasetPaths(DATA).folder
    out.parent.mkdir(parents=True, exist_ok=True)
    return build(out, fetch(str(source), None), token_settings()).fingerprint


def _write_caches(
    folder: Path,
    shape: Shape,
    lengths: np.ndarray,
    shards: int,
    vectors: tuple[np.ndarray, np.ndarray],
    sample: SampleTokens,
    about: dict[str, object],
) -> tuple[list[str], LayerSummary]:
    """x of all texts in one cache a shard, and what a scan finds in them of the neurons of `vectors`."""
    neurons = len(vectors[0])
    reducer = make_reducer(1, neurons, K)
    sampled = np.zeros((2, neurons, len(sample.example)), np.float16)
    random = torch.Generator().manual_seed(1)
    both = torch.from_numpy(np.concatenate(vectors))
    caches = []
    for number, rows in enumerate(np.array_split(np.arange(len(lengths)), shards)):
        caches.append(RunPaths(RUN).cache(shard_name(number)))
        with CacheWriter(
            folder / caches[-1], n_layers=1, d_model=shape.d_model, dtype="float16", rows=rows,
            lengths=lengths[rows], attributes=about,
        ) as cache:  # fmt: skip
            for row in rows.tolist():
                x = torch.randn(int(lengths[row]), shape.d_model, generator=random).half()
                cache.append(0, x.numpy())
                gate, in_ = (x.float() @ both.T).split(neurons, dim=1)
                act = torch.nn.functional.silu(gate)
                reducer.update(0, np.array([row]), lengths[row : row + 1], gate, in_, act, act * in_)
                here = sample.example == row
                for i, values in enumerate((gate, in_)):
                    sampled[i][:, here] = values.numpy()[sample.position[here]].T
    return caches, replace(reducer.layer_summary(0), sample_gate=sampled[0], sample_in=sampled[1])


def _random(rng: np.random.Generator, rows: int, columns: int, scale: float) -> np.ndarray:
    return (rng.standard_normal((rows, columns), np.float32) * np.float32(scale)).astype(np.float16)


def _widened(layer: LayerSummary, neurons: int) -> LayerSummary:
    """The same neurons again and again, as a layer of full width."""
    again = np.arange(neurons) % layer.neurons
    return LayerSummary(**{name: getattr(layer, name)[again] for name in LayerSummary.__dataclass_fields__})


def _write_weights(path: Path, shape: Shape, rng: np.random.Generator, about: dict[str, object]) -> None:
    n, half = shape.d_mlp, np.float32
    tokens, near = (n, len(VECTORS), 2, TOKENS), (n, NEAREST)
    layer = LayerWeights(
        cosine=rng.uniform(-0.3, 0.3, (n, len(COSINES))).astype(half),
        norm=rng.random((n, len(VECTORS))).astype(half),
        norm_quantile=rng.random((n, len(VECTORS))).astype(half),
        sign=np.ones(n, np.int8),
        rw_class=np.zeros(n, np.int8),
        token_id=rng.integers(0, shape.n_vocab, tokens).astype(np.int32),
        token_score=np.sort(rng.random(tokens))[..., ::-1].astype(half),
        nearest_layer=np.zeros(near, np.int32),
        nearest_neuron=rng.integers(0, n, near).astype(np.int32),
        nearest_cosine=rng.random(near).astype(half),
        nearest_sign=np.ones(near, np.int8),
        chance=np.zeros((len(CONVENTIONS), len(COSINES), len(QUANTILES)), half),
    )
    write_weights(path, [layer], np.zeros(len(QUANTILES)), about)

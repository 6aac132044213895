"""Models to measure: shapes with the proportions of real ones, random weights, texts with lengths like real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from gluscope.model.adapter import layout
from gluscope.model.capture import GatedModel
from gluscope.model.describe import module_names
from gluscope.model.experts import NAME
from gluscope.model.find_mixture import mixture_layout
from gluscope.model.spec import ModelSpec
from gluscope.scan.batches import TokenBatch, make_batches

LONGEST = 1024
_MEDIAN, _SIGMA, _SHORTEST = 250, 0.9, 8  # tokens of a text: lognormal


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama-like model, or with `experts` of an OLMoE-like one, whose experts have d_mlp neurons each."""

    name: str
    n_layers: int
    d_model: int
    d_mlp: int
    n_heads: int
    n_kv_heads: int
    n_vocab: int
    experts: int = 0
    chosen: int = 0

    @property
    def flop_per_token(self) -> int:
        """Of all blocks' matrix products. Attention's own products and the logits are left out."""
        heads = self.d_model + self.d_model // self.n_heads * self.n_kv_heads
        mlp = 3 * self.d_model * self.d_mlp * max(1, self.chosen) + self.d_model * self.experts
        return 2 * self.n_layers * (2 * self.d_model * heads + mlp)

    @property
    def cache_bytes_per_token(self) -> int:
        return 2 * self.n_layers * self.d_model


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("tiny", 2, 64, 176, 4, 4, 512),
        Shape("tiny-experts", 2, 64, 32, 4, 4, 512, experts=8, chosen=2),
        Shape("d512", 8, 512, 1376, 8, 8, 4096),
        Shape("d1024", 4, 1024, 2752, 16, 16, 4096),
        Shape("d1024-experts", 4, 1024, 512, 16, 16, 4096, experts=64, chosen=8),
        Shape("olmo-7b", 32, 4096, 11008, 32, 32, 50304),
        Shape("llama-3.1-8b", 32, 4096, 14336, 32, 8, 128256),
    )
}


def make_model(shape: Shape, device: str, dtype: torch.dtype, seed: int = 0) -> GatedModel:
    """The plain Hugging Face class with random weights, made on the device; nothing goes through a file."""
    kind, own = "llama", {}
    if shape.experts:
        kind, own = "olmoe", {"num_experts": shape.experts, "num_experts_per_tok": shape.chosen}
    config = transformers.AutoConfig.for_model(
        kind, hidden_size=shape.d_model, intermediate_size=shape.d_mlp, num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads, num_key_value_heads=shape.n_kv_heads, vocab_size=shape.n_vocab,
        max_position_embeddings=LONGEST, architectures=[f"{kind.title()}ForCausalLM"], **own,
    )  # fmt: skip
    found = (mixture_layout(config, shape.name) if shape.experts else None) or layout(config, shape.name)
    stored: Any = found.stored
    torch.manual_seed(seed)
    with torch.device(device):
        hf_model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    if shape.experts:
        hf_model.set_experts_implementation(NAME)
    spec = ModelSpec(
        model=shape.name, revision="random", folder="", architecture=found.architecture, n_layers=shape.n_layers,
        d_model=shape.d_model, d_mlp=found.d_mlp, n_vocab=shape.n_vocab, act_fn=found.act_fn, **stored,
        modules=module_names(found), mixture=found.mixture, dtype=str(dtype).removeprefix("torch."),
    )  # fmt: skip
    return GatedModel(hf_model.eval().requires_grad_(False), spec)


def lengths_of_texts(rng: np.random.Generator, tokens: int, longest: int = LONGEST) -> np.ndarray:
    """int64 [text]: lengths that sum to about `tokens`, at least one text."""
    drawn = rng.lognormal(np.log(min(_MEDIAN, longest / 4)), _SIGMA, tokens // _SHORTEST + 1)
    lengths = np.clip(drawn, _SHORTEST, longest).astype(np.int64)
    return lengths[: max(1, int(np.searchsorted(np.cumsum(lengths), tokens)))]


def cut(ids: Sequence[np.ndarray], first_row: int, max_tokens: int, padding: float) -> list[TokenBatch]:
    """Texts, rows from `first_row` on, in batches as the scan cuts them. padding: see `make_batches`."""
    lengths = np.array([len(text) for text in ids], np.int64)
    batches = []
    for places in make_batches(lengths, max_tokens, padding):
        together = np.zeros((len(places), lengths[places].max()), np.int64)
        for i, place in enumerate(places):
            together[i, : lengths[place]] = ids[place]
        batches.append(TokenBatch(places + first_row, lengths[places], together))
    return batches

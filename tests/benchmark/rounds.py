"""Rounds of texts that are measured, and the plain pass over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gluscope.model.attention import without_plans
from gluscope.model.capture import GatedModel
from gluscope.model.experts import NAME
from gluscope.scan.batches import PADDING, TokenBatch
from gluscope.scan.passes import to_device
from gluscope.scan.sample import choose_sample
from gluscope.summary.types import SampleTokens

from benchmark.shapes import Shape, cut, lengths_of_texts

_SEED = 0
_WAYS = 4  # plain twice, scan, scan with cache


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    rounds: at most; fewer where they would take longer than `seconds`. tokens: of a round. batch_tokens: of a forward
    pass. replay_neurons: of a layer.
    """

    rounds: int = 16
    tokens: int = 3000
    batch_tokens: int = 16384
    replay_neurons: int = 64
    seconds: float = 115.0

    def fitting(self, microseconds: float) -> Effort:
        """The same with as many rounds as fit, at least 4, where a plain pass takes so long a token."""
        of_round = _WAYS * self.tokens * microseconds / 1e6
        return replace(self, rounds=min(self.rounds, max(4, int(self.seconds / of_round))))


class Texts:
    """Texts of all rounds; rows go on from round to round."""

    def __init__(self, shape: Shape, effort: Effort, device: str) -> None:
        rng = np.random.default_rng(_SEED)
        lengths = [lengths_of_texts(rng, effort.tokens) for _ in range(effort.rounds)]
        self.ids = [[rng.integers(0, shape.n_vocab, length) for length in own] for own in lengths]
        self.lengths = np.concatenate(lengths)
        self.tokens, self.counts = [int(own.sum()) for own in lengths], [len(own) for own in lengths]
        self.batches = self.cut(effort.batch_tokens, PADDING[device])
        # As many as a shard of 64 has in a run with 4096.
        self.sample = choose_sample(_SEED, self.lengths, 64)

    def cut(self, max_tokens: int, padding: float) -> list[list[TokenBatch]]:
        """Batches of each round."""
        firsts = np.cumsum([0, *self.counts]).tolist()
        return [cut(ids, first, max_tokens, padding) for ids, first in zip(self.ids, firsts, strict=False)]

    def sample_of(self, number: int) -> SampleTokens:
        first = sum(self.counts[:number])
        part = slice(*np.searchsorted(self.sample.example, [first, first + self.counts[number]]))
        return SampleTokens(self.sample.example[part], self.sample.position[part])

    def order(self, rounds: int) -> np.ndarray:
        """Rows of the first rounds in the order in which they are processed."""
        nothing = np.zeros(0, np.int64)
        return np.concatenate([nothing, *(batch.rows for batches in self.batches[:rounds] for batch in batches)])

    def rounds_within(self, most_bytes: float, shape: Shape) -> int:
        """How many of the first rounds a cache of so many bytes holds."""
        return int((np.cumsum(self.tokens) * shape.cache_bytes_per_token <= most_bytes).sum())


@torch.inference_mode()
def plain_pass(model: GatedModel, batches: Sequence[TokenBatch], experts: str = "", own_choice: bool = False) -> None:
    """The Hugging Face model as anyone would call it for its last hidden states; no logits, no hooks.

    Its attention is the one that is fastest for texts, that of a scan. own_choice: the one that torch takes by itself.
    experts: which of transformers' own implementations runs those of a mixture.
    """
    base = model.hf_model.get_submodule(model.spec.modules["layers"].rpartition(".")[0])
    with nullcontext() if own_choice else without_plans(), run_by(model, experts):
        for batch in batches:
            base(input_ids=to_device(batch.input_ids, model.device), use_cache=False)


@contextmanager
def run_by(model: GatedModel, experts: str) -> Iterator[None]:
    """For a while an implementation of transformers runs the experts of a mixture; "": that of a scan."""
    hf_model: Any = model.hf_model
    if experts:
        hf_model.set_experts_implementation(experts)
    try:
        yield
    finally:
        if experts:
            hf_model.set_experts_implementation(NAME)

"""Rounds of texts that are measured, the plain pass over them, and the cache that a scan of them writes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gluscope.bench.shapes import LONGEST, Shape, batches_of_texts, lengths_of_texts
from gluscope.model.attention import without_plans
from gluscope.model.capture import GatedModel
from gluscope.scan.batches import PADDING, TokenBatch
from gluscope.scan.loop import WRITERS
from gluscope.scan.passes import to_device
from gluscope.scan.sample import choose_sample
from gluscope.store.cache import CacheWriter
from gluscope.summary.types import SampleTokens

_SEED = 0


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    rounds: at most; fewer where they would take longer than `seconds`. tokens: of a round. batch_tokens: of a forward
    pass. straight: rounds of the slow way.
    """

    rounds: int = 16
    tokens: int = 3000
    batch_tokens: int = 16384
    straight: int = 4
    replay_neurons: int = 64
    seconds: float = 115.0

    def within(self, most_bytes: float, shape: Shape) -> Effort:
        """The same with no more tokens than a cache of so many bytes holds of all rounds together."""
        fits = int(most_bytes / shape.cache_bytes_per_token / self.rounds)
        return replace(self, tokens=min(self.tokens, max(LONGEST, fits)))

    def fitting(self, microseconds: float) -> Effort:
        """The same with as many rounds as fit, at least 4, where a plain pass takes so long a token."""
        of_round = (4 + 5 * self.straight / self.rounds) * self.tokens * microseconds / 1e6
        return replace(self, rounds=min(self.rounds, max(4, int(self.seconds / of_round))))


class Texts:
    """Texts of all rounds; rows go on from round to round."""

    def __init__(self, shape: Shape, effort: Effort, device: str) -> None:
        rng, self.device = np.random.default_rng(_SEED), device
        self.batches: list[list[TokenBatch]] = []
        self.ids: list[list[np.ndarray]] = []
        lengths, first = [], 0
        for _ in range(effort.rounds):
            own = lengths_of_texts(rng, effort.tokens)
            batches = batches_of_texts(rng, own, first, shape.n_vocab, effort.batch_tokens, PADDING[device])
            self.batches.append(batches)
            self.ids.append([ids[:n] for b in batches for ids, n in zip(b.input_ids, b.lengths, strict=True)])
            lengths.append(own)
            first += len(own)
        self.lengths = np.concatenate(lengths)
        self.tokens, self.counts = [int(own.sum()) for own in lengths], [len(own) for own in lengths]
        # As many as a shard of 64 has in a run with 4096.
        self.sample = choose_sample(_SEED, self.lengths, 64)

    def sample_of(self, number: int) -> SampleTokens:
        first = sum(self.counts[:number])
        part = slice(*np.searchsorted(self.sample.example, [first, first + self.counts[number]]))
        return SampleTokens(self.sample.example[part], self.sample.position[part])

    def order(self, rounds: int | None = None) -> np.ndarray:
        """Rows of the first rounds in the order in which they are processed."""
        nothing = np.zeros(0, np.int64)
        return np.concatenate([nothing, *(batch.rows for batches in self.batches[:rounds] for batch in batches)])

    def rounds_within(self, most_bytes: float, shape: Shape) -> int:
        """How many of the first rounds a cache of so many bytes holds."""
        needed = np.cumsum(self.tokens) * shape.cache_bytes_per_token
        return int((needed <= most_bytes).sum())


class Writer(CacheWriter):
    """A cache whose end is timed by itself."""

    def finish(self) -> None:
        super().__exit__(None, None, None)

    def __enter__(self) -> Writer:
        super().__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:
            super().__exit__(kind, error, trace)


def cache_writer(path: Path, shape: Shape, texts: Texts, rounds: int | None = None) -> Writer:
    """Of the texts of the first rounds; of all if None."""
    rows = texts.order(rounds)
    return Writer(
        path,
        n_layers=shape.n_layers,
        d_model=shape.d_model,
        dtype="float16",
        rows=rows,
        lengths=texts.lengths[rows],
        attributes={},
        threads=WRITERS[texts.device],
    )


@torch.inference_mode()
def plain_pass(model: GatedModel, batches: Sequence[TokenBatch], own_choice: bool = False) -> None:
    """The Hugging Face model as anyone would call it for its last hidden states; no logits, no hooks.

    Its attention is the one that is fastest for texts, that of a scan. own_choice: the one that torch takes by itself.
    """
    base = model.hf_model.get_submodule(model.spec.modules["layers"].rpartition(".")[0])
    with nullcontext() if own_choice else without_plans():
        for batch in batches:
            base(input_ids=to_device(batch.input_ids, model.device), use_cache=False)

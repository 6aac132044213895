"""The values of pairs of a text and a neuron, taken out of a batch's tensors by one index. Imports torch."""

from __future__ import annotations

import numpy as np
import torch

from gluscope.scan.batches import TokenBatch
from gluscope.scan.passes import to_device


class PairIndex:
    """Where the values of some pairs stand in [example, position, neuron], one pair's tokens after another's.

    example, neuron: int64 [pair]; examples by their place in the batch. tokens: int64 [pair], of their texts. The host
    waits for nothing, and does as much for many texts as for one.
    """

    def __init__(self, batch: TokenBatch, example: np.ndarray, neuron: np.ndarray, device: torch.device) -> None:
        self.tokens = batch.lengths[example]
        total = int(self.tokens.sum())
        # From a value's place among all to its token's in the batch, and the pair's neuron.
        begin = example * batch.input_ids.shape[1] - (np.cumsum(self.tokens) - self.tokens)
        counts, first, own = to_device(np.stack([self.tokens, begin, neuron]), device)
        pair = torch.repeat_interleave(counts, output_size=total)
        self._at = torch.arange(total, device=device) + first[pair], own[pair]

    def of(self, *tensors: torch.Tensor) -> torch.Tensor:
        """[value, tensor]"""
        token, neuron = self._at
        return torch.stack([tensor.flatten(0, 1)[token, neuron] for tensor in tensors], dim=-1)


def longest(batch: TokenBatch, x: torch.Tensor) -> torch.Tensor:
    """The largest |x| of each text, float32 [example]; padding is left out."""
    norm: torch.Tensor = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
    if batch.padded:
        lengths = to_device(np.asarray(batch.lengths, np.int64), x.device)
        norm = norm.masked_fill(torch.arange(norm.shape[1], device=x.device) >= lengths[:, None], 0.0)
    return norm.amax(1)

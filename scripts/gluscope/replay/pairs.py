"""The values of pairs of a text and a neuron, taken out of a batch's tensors by one index. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from gluscope.core.size import LayerNeurons
from gluscope.model.capture import Mixed
from gluscope.model.experts import Routed
from gluscope.scan.batches import TokenBatch
from gluscope.scan.experts import Pairs
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


class RoutedIndex:
    """The same for neurons of routed experts, whose values the model has where a token reaches them alone.

    expert, number: int64 [pair], of each pair's neuron.
    """

    def __init__(
        self, batch: TokenBatch, routed: Routed, example: np.ndarray, expert: np.ndarray, number: np.ndarray
    ) -> None:
        self.tokens, self._routed = batch.lengths[example], routed
        real = np.arange(batch.input_ids.shape[1]) < batch.lengths[:, None]
        known = Pairs.of(routed.token.cpu().numpy(), routed.pairs.cpu().numpy(), real)
        counts = known.counts[expert, example]
        ends = np.cumsum(known.counts).reshape(known.counts.shape)[expert, example]
        own = np.repeat(np.arange(len(example)), counts)
        among = np.arange(counts.sum()) + np.repeat(ends - np.cumsum(counts), counts)
        begin = np.cumsum(self.tokens) - self.tokens
        # Of each value that there is: its place among all, the model's pair, its token, the neuron and expert.
        places = (
            begin[own] + known.position[among],
            among if known.index is None else known.index[among],
            known.token[among], number[own], expert[own],
        )  # fmt: skip
        self._at = to_device(np.stack(places), routed.gate.device)

    def of(self, *tensors: torch.Tensor) -> torch.Tensor:
        """[value, tensor]; 0 where a token does not reach the expert. tensors: [pair of the model, neuron]."""
        place, pair, _, number, _ = self._at
        found = tensors[0].new_zeros((int(self.tokens.sum()), len(tensors)))
        found[place] = torch.stack([tensor[pair, number] for tensor in tensors], dim=-1)
        return found

    def weight(self) -> torch.Tensor:
        """float32 [value], what the router multiplies the expert's output with; NaN where a token does not reach it."""
        place, _, token, _, expert = self._at
        chosen, weight = self._routed.chosen[token], self._routed.weight[token]
        found = torch.full((int(self.tokens.sum()),), torch.nan, dtype=torch.float32, device=chosen.device)
        found[place] = torch.where(chosen == expert[:, None], weight, 0).sum(1).float()
        return found


def of_mixture(
    batch: TokenBatch, neurons: LayerNeurons, mixed: Mixed, example: np.ndarray, place: np.ndarray
) -> Iterator[tuple[np.ndarray, PairIndex | RoutedIndex, torch.Tensor]]:
    """Values of pairs of a text and a neuron at a mixture of experts, by the MLP that they are of.

    neurons: of the layer. example, place: int64 [pair], as in PairIndex. Each time: which pairs, int64; their index;
    and gate and in, [value, 2].
    """
    for number, stretch in enumerate(list(neurons.stretches())[: len(neurons.shared)]):
        which = np.flatnonzero((place >= stretch.begin) & (place < stretch.end))
        if len(which):
            own = mixed.shared[number]
            index = PairIndex(batch, example[which], place[which] - stretch.begin, own.gate.device)
            yield which, index, index.of(own.gate, own.in_)
    which = np.flatnonzero(place >= neurons.first_routed)
    if len(which):
        expert, number_in = np.divmod(place[which] - neurons.first_routed, neurons.each)
        routed = RoutedIndex(batch, mixed.routed, example[which], expert, number_in)
        yield which, routed, routed.of(mixed.routed.gate, mixed.routed.in_)


def longest(batch: TokenBatch, x: torch.Tensor) -> torch.Tensor:
    """The largest |x| of each text, float32 [example]; padding is left out."""
    norm: torch.Tensor = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
    if batch.padded:
        lengths = to_device(np.asarray(batch.lengths, np.int64), x.device)
        norm = norm.masked_fill(torch.arange(norm.shape[1], device=x.device) >= lengths[:, None], 0.0)
    return norm.amax(1)

"""The statistics of a model with mixtures of experts: each MLP of a layer is reduced over the tokens that reach it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from gluscope.core.neuron import SHARED
from gluscope.core.size import Size
from gluscope.scan.reduce import PartsReducer
from gluscope.summary.types import ADDED, LISTED, LayerSummary

Make = Callable[[int, int, bool], PartsReducer]  # (layers, neurons, whether tokens are parts of texts)


@dataclass(frozen=True)
class Pairs:
    """The pairs of tokens that count and experts that they reach, of a batch at one layer, by expert and then token.

    index: int64 [pair], places among all pairs that the model computed; None for all of them. counts: int64 [expert,
    example]. position: int32 [pair], in the text. token: int64 [pair], in the batch, padding included.
    """

    index: np.ndarray | None
    counts: np.ndarray
    position: np.ndarray
    token: np.ndarray

    @classmethod
    def of(cls, token: np.ndarray, pairs: np.ndarray, counted: np.ndarray) -> Pairs:
        """token, pairs: as in `model.experts.Routed`. counted: bool [example, position], the tokens that count."""
        examples, width = counted.shape
        expert = np.repeat(np.arange(len(pairs)), pairs)
        example, position = np.divmod(token, width)
        index = None
        if not counted.all():
            index = np.flatnonzero(counted[example, position])
            expert, example, position, token = expert[index], example[index], position[index], token[index]
        counts = np.bincount(expert * examples + example, minlength=len(pairs) * examples)
        return cls(index, counts.reshape(len(pairs), -1), position.astype(np.int32), token)

    @property
    def expert(self) -> np.ndarray:
        """int64 [pair]"""
        return np.repeat(np.arange(len(self.counts)), self.counts.sum(1))

    def real(self, values: torch.Tensor) -> torch.Tensor:
        """[pair of the model, ...] as [pair, ...]."""
        if self.index is None:
            return values
        return values.index_select(0, torch.from_numpy(self.index).to(values.device))


class MixtureReducer:
    """A reducer for each kind of MLP: dense, each shared expert, all routed ones.

    routed: int64 [layer, expert], tokens that were sent to each.
    """

    def __init__(self, size: Size, k: int, make: Make) -> None:
        self._size, self._k = size, k
        largest = max(size.layers, key=lambda layer: layer.experts)
        dense = max(layer.dense for layer in size.layers)
        self._experts = largest.experts
        self._dense = make(size.n_layers, dense, False) if dense else None
        self._shared = [make(size.n_layers, width, False) for width in largest.shared]
        self._routed = make(size.n_layers * self._experts, largest.each, True)
        self.routed = np.zeros((size.n_layers, self._experts), np.int64)
        whole = next((reducer for reducer in (self._dense, *self._shared) if reducer), self._routed)
        self.takes_padding = whole.takes_padding
        self.kind = "+".join(dict.fromkeys((whole.kind, self._routed.kind)))

    def update(self, layer: int, rows: np.ndarray, lengths: np.ndarray, *values: torch.Tensor) -> None:
        """Take in a batch at a dense layer; see `Reducer.update`."""
        assert self._dense is not None
        self._dense.update(layer, rows, lengths, *values)

    def update_shared(
        self, layer: int, number: int, rows: np.ndarray, lengths: np.ndarray, *values: torch.Tensor
    ) -> None:
        """The same at a shared expert."""
        self._shared[number].update(layer, rows, lengths, *values)

    def update_routed(self, layer: int, rows: np.ndarray, pairs: Pairs, *values: torch.Tensor) -> None:
        """Take in a batch at routed experts. values: gate, in, act and post, [pair, neuron]."""
        first = layer * self._experts
        self._routed.update_many(first, rows, pairs.counts, *values, positions=pairs.position)
        self.routed[layer] += pairs.counts.sum(1)

    def layer_summary(self, layer: int) -> LayerSummary:
        """What was found at a layer so far, at the places of `core.size`; places without a neuron are empty."""
        whole = LayerSummary.empty(self._size.widest, self._k)
        for stretch in self._size.layers[layer].stretches():
            if not stretch.expert:
                assert self._dense is not None
                part = self._dense.layer_summary(layer)
            elif stretch.expert.startswith(SHARED):
                part = self._shared[int(stretch.expert.removeprefix(SHARED) or 0)].layer_summary(layer)
            else:
                part = self._routed.layer_summary(layer * self._experts + int(stretch.expert[1:]))
            for name in (*ADDED, *LISTED):
                getattr(whole, name)[stretch.begin : stretch.end] = getattr(part, name)
        return whole


class MixtureSample:
    """Gate and in of sampled tokens, kept for each expert only where they reach it.

    samples: how many there are. Memory: 4 bytes a value that there is.
    """

    def __init__(self, size: Size, samples: int) -> None:
        self._size, self._samples = size, samples
        self._kept: list[list[tuple[slice, np.ndarray, np.ndarray]]] = [[] for _ in size.layers]

    def keep(self, layer: int, expert: str, places: np.ndarray, values: np.ndarray) -> None:
        """values: float16 [2, sampled token, neuron] of one MLP; places: int64 [sampled token], in the sample."""
        stretch = self._size.layers[layer].stretch(expert)
        assert stretch is not None
        self._kept[layer].append((slice(stretch.begin, stretch.end), places, values.copy()))

    def layer(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """float16 [neuron, sample] each, gate and in; NaN where a token does not reach the expert."""
        both = np.full((2, self._size.widest, self._samples), np.nan, np.float16)
        for neurons, places, values in self._kept[layer]:
            both[:, neurons, places] = values.transpose(0, 2, 1)
        return both[0], both[1]

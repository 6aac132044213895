"""Forward passes that keep some neurons' gate and in at some texts. Imports torch."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from gluscope.model.capture import GatedModel, Mixed
from gluscope.replay.file import LayerPairs, ReplayWriter
from gluscope.replay.pairs import PairIndex, RoutedIndex, longest, of_mixture
from gluscope.scan.batches import TokenBatch
from gluscope.scan.passes import ForwardPasses


class ReplayPasses(ForwardPasses):
    """Runs batches through a model up to the last layer with pairs; the pairs' values go to a writer."""

    def __init__(self, model: GatedModel, layers: list[LayerPairs], writer: ReplayWriter) -> None:
        super().__init__(model, [layer for layer, pairs in enumerate(layers) if len(pairs.row)])
        self._layers, self._writer = layers, writer

    def _begin(self, batch: TokenBatch) -> None:
        self._batch = batch

    def _use(self, layer: int, x: torch.Tensor, gate: torch.Tensor, in_: torch.Tensor, *_: torch.Tensor) -> None:
        places, example = self._pairs_here(layer)
        if not len(places):
            return
        index = PairIndex(self._batch, example, self._layers[layer].neuron[places], gate.device)
        to_values = self._copies.begin(index.of(gate, in_).to(torch.float16))
        to_norms = self._copies.begin(longest(self._batch, x))
        self._copies.use(to_values, partial(self._writer.append, layer, places))
        self._copies.use(to_norms, partial(self._note_longest, layer, places, example))

    def _use_mixture(self, layer: int, x: torch.Tensor, mixed: Mixed) -> None:
        places, example = self._pairs_here(layer)
        if not len(places):
            return
        neurons, own = self._model.spec.size.layers[layer], self._layers[layer].neuron[places]
        begun = []
        for which, index, values in of_mixture(self._batch, neurons, mixed, example, own):
            weight = [index.weight()[:, None]] if isinstance(index, RoutedIndex) else []
            three = torch.cat([values.to(torch.float16).float(), *weight], dim=1)
            begun.append((which, self._copies.begin(three)))
        to_norms = self._copies.begin(longest(self._batch, x))
        for which, copy in begun:
            self._copies.use(copy, partial(self._append, layer, places[which]))
        self._copies.use(to_norms, partial(self._note_longest, layer, places, example))

    def _pairs_here(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """The layer's pairs that are of the batch, and the place of each one's text in it: int64 [pair] both."""
        pairs, batch = self._layers[layer], self._batch
        low, high = (np.searchsorted(pairs.row, batch.rows, side=side) for side in ("left", "right"))
        places = np.concatenate([np.arange(*ends) for ends in zip(low, high, strict=True)])
        return places, np.repeat(np.arange(len(low)), high - low)

    def _append(self, layer: int, places: np.ndarray, values: np.ndarray) -> None:
        """values: float32 [token, 2], and behind gate and in the router's weight where there is one."""
        weight = values[:, 2] if values.shape[1] == 3 else None
        self._writer.append(layer, places, values[:, :2].astype(np.float16), weight)

    def _note_longest(self, layer: int, places: np.ndarray, example: np.ndarray, found: np.ndarray) -> None:
        self._writer.note_longest(layer, places, found[example])

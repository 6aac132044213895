"""Forward passes that keep some neurons' gate and in at some texts. Imports torch."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from gluscope.model.capture import GatedModel
from gluscope.replay.file import LayerPairs, ReplayWriter
from gluscope.replay.pairs import PairIndex, longest
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
        pairs, batch = self._layers[layer], self._batch
        low, high = (np.searchsorted(pairs.row, batch.rows, side=side) for side in ("left", "right"))
        counts = high - low
        if not counts.any():
            return
        places = np.concatenate([np.arange(*ends) for ends in zip(low, high, strict=True)])
        index = PairIndex(batch, np.repeat(np.arange(len(counts)), counts), pairs.neuron[places], gate.device)
        to_values = self._copies.begin(index.of(gate, in_).to(torch.float16))
        to_norms = self._copies.begin(longest(batch, x))
        self._copies.use(to_values, partial(self._writer.append, layer, places))
        self._copies.use(to_norms, lambda found: self._writer.note_longest(layer, places, np.repeat(found, counts)))

"""Forward passes that keep some neurons' gate and in at some texts. Imports torch."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from gluscope.model.capture import GatedModel
from gluscope.scan.batches import TokenBatch
from gluscope.scan.passes import ForwardPasses, to_device
from gluscope.store.replay import LayerPairs, ReplayWriter


class ReplayPasses(ForwardPasses):
    """Runs batches through a model up to the last layer with pairs; the pairs' values go to a writer."""

    def __init__(self, model: GatedModel, layers: list[LayerPairs], writer: ReplayWriter) -> None:
        super().__init__(model, [layer for layer, pairs in enumerate(layers) if len(pairs.row)])
        self._layers, self._writer = layers, writer

    def _begin(self, batch: TokenBatch) -> None:
        self._batch = batch

    def _use(self, layer: int, x: torch.Tensor, gate: torch.Tensor, in_: torch.Tensor, *_: torch.Tensor) -> None:
        pairs, batch = self._layers[layer], self._batch
        parts = [pairs.of(int(row)) for row in batch.rows]
        places = np.concatenate([np.arange(part.start, part.stop) for part in parts])
        if not len(places):
            return
        neurons = to_device(pairs.neuron[places], gate.device)  # one copy for all texts of the batch
        counts = [part.stop - part.start for part in parts]
        kept, longest = [], []
        for example, own in enumerate(neurons.split(counts)):
            if not len(own):
                continue
            real = slice(0, int(batch.lengths[example]))
            both = [tensor[example, real].index_select(1, own).T for tensor in (gate, in_)]  # [pair, token]
            kept.append(torch.stack(both, dim=-1).flatten(0, 1))
            longest.append(x[example, real].float().square().sum(-1).amax().sqrt())
        values, norms = torch.cat(kept).to(torch.float16), torch.stack(longest)
        each = np.array([count for count in counts if count])
        to_values, to_norms = self._copies.begin(values), self._copies.begin(norms)
        self._copies.use(to_values, partial(self._writer.append, layer, places))
        self._copies.use(to_norms, lambda found: self._writer.note_longest(layer, places, np.repeat(found, each)))

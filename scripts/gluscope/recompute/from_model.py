"""Recompute from scratch: the model runs on the texts wanted, up to the neurons' layer only. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gluscope.core.cost import BATCH_TOKENS
from gluscope.model.capture import GatedModel, Mixed
from gluscope.model.load import load_model
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.recompute.gather import Gather, Wanted
from gluscope.recompute.types import Recomputed
from gluscope.replay.pairs import PairIndex, RoutedIndex, longest, of_mixture
from gluscope.scan.batches import PADDING, TokenBatch, read_batches
from gluscope.scan.passes import ForwardPasses

if TYPE_CHECKING:
    from gluscope.dataset.reader import TokenDataset


def from_model(
    spec: ModelSpec,
    dataset: TokenDataset,
    layer: int,
    wanted: Wanted,
    device: str = "auto",
    dtype: str = "float32",
    batch_tokens: int = BATCH_TOKENS,
    tf32: bool = False,
    model: GatedModel | None = None,
) -> dict[int, Recomputed]:
    """Gate and in of neurons of one layer at their texts, by neuron.

    wanted: for each neuron the rows of its texts. device, dtype, tf32: of the forward pass; the run's own give the
    scan's numbers. batch_tokens: most tokens in a pass. model: of that dtype, if one is loaded already. Raises
    ModelError as `load` does, and for a text that does not fit into memory.
    """
    gather = Gather(WeightRows(spec), layer, wanted)
    rows = np.array(sorted(gather.by_row), np.int64)
    lengths = dataset.lengths[rows]
    gather.set_lengths(dict(zip(rows.tolist(), lengths.tolist(), strict=True)))
    model = load_model(spec, device, dtype, tf32) if model is None else model
    with _PagePasses(model, layer, gather) as passes:
        for batch in read_batches(
            dataset, rows, lengths, batch_tokens, PADDING[model.device.type], None, model.alone_beyond
        ):
            passes.run(batch)
        passes.finish()
    return gather.results("model", dtype)


class _PagePasses(ForwardPasses):
    """Passes up to a layer; what the neurons of `gather` do at their texts goes there, a batch at a time."""

    def __init__(self, model: GatedModel, layer: int, gather: Gather) -> None:
        super().__init__(model, [layer])
        self._gather = gather

    def _begin(self, batch: TokenBatch) -> None:
        self._batch = batch

    def _use(self, layer: int, x: torch.Tensor, gate: torch.Tensor, in_: torch.Tensor, *_: torch.Tensor) -> None:
        example, neuron = self._pairs()
        index = PairIndex(self._batch, example, neuron, gate.device)
        self._put(x, example, neuron, index, index.of(gate, in_).float())

    def _use_mixture(self, layer: int, x: torch.Tensor, mixed: Mixed) -> None:
        neurons, (example, neuron) = self._model.spec.size.layers[layer], self._pairs()
        for which, index, values in of_mixture(self._batch, neurons, mixed, example, neuron):
            values = values.float()
            if isinstance(index, RoutedIndex):
                weight = index.weight()[:, None]
                values = torch.cat([values.masked_fill(weight.isnan(), torch.nan), weight], dim=1)
            self._put(x, example[which], neuron[which], index, values)

    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The batch's pairs of a text, by its place in the batch, and a neuron that wants it: int64 [pair] both."""
        wanted = [self._gather.by_row[row] for row in self._batch.rows.tolist()]
        example = np.repeat(np.arange(len(wanted)), [len(neurons) for neurons in wanted])
        return example, np.array([neuron for neurons in wanted for neuron in neurons], np.int64)

    def _put(
        self,
        x: torch.Tensor,
        example: np.ndarray,
        neuron: np.ndarray,
        index: PairIndex | RoutedIndex,
        values: torch.Tensor,
    ) -> None:
        """values: float32 [value, 2], or of routed experts [value, 3]: gate, in, the router's weight."""
        norms = longest(self._batch, x).cpu().numpy()[example]
        parts = np.split(values.cpu().numpy(), np.cumsum(index.tokens)[:-1])
        for row, one, part, norm in zip(
            self._batch.rows[example].tolist(), neuron.tolist(), parts, norms.tolist(), strict=True
        ):
            weight = part[:, 2] if part.shape[1] == 3 else None
            self._gather.put_one(row, one, part[:, 0], part[:, 1], norm, weight)

"""Recompute from scratch: the model runs on the texts wanted, up to the neurons' layer only. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gluscope.model.capture import GatedModel
from gluscope.model.load import load
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.recompute.gather import Gather, Wanted
from gluscope.recompute.types import Recomputed
from gluscope.replay.pairs import PairIndex, longest
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
    batch_tokens: int = 16384,
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
    model = load(spec, device, dtype, tf32) if model is None else model
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
        batch, by_row = self._batch, self._gather.by_row
        wanted = [by_row[row] for row in batch.rows.tolist()]
        example = np.repeat(np.arange(len(wanted)), [len(neurons) for neurons in wanted])
        neuron = np.array([neuron for neurons in wanted for neuron in neurons], np.int64)
        index = PairIndex(batch, example, neuron, gate.device)
        norms = longest(batch, x).cpu().numpy()[example]
        values = index.of(gate, in_).float().cpu().numpy()
        parts = np.split(values, np.cumsum(index.tokens)[:-1])
        for row, one, part, norm in zip(
            batch.rows[example].tolist(), neuron.tolist(), parts, norms.tolist(), strict=True
        ):
            self._gather.put_one(row, one, part[:, 0], part[:, 1], norm)

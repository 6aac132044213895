"""Recompute from scratch: the model runs on the texts wanted, up to the neurons' layer only. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gluscope.core.cost import BATCH_TOKENS
from gluscope.core.neuron import SHARED, is_routed
from gluscope.model.capture import GatedModel, Mixed
from gluscope.model.load import load_model
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.recompute.gather import Gather, Wanted
from gluscope.recompute.types import Recomputed
from gluscope.replay.pairs import PairIndex, longest
from gluscope.scan.batches import PADDING, TokenBatch, read_batches
from gluscope.scan.experts import Pairs
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

    def _use_mixture(self, layer: int, x: torch.Tensor, mixed: Mixed) -> None:
        batch, routed, size = self._batch, mixed.routed, self._model.spec.size
        real = np.arange(batch.input_ids.shape[1]) < batch.lengths[:, None]
        pairs = Pairs.of(routed.token.cpu().numpy(), routed.pairs.cpu().numpy(), real)
        ends = np.cumsum(pairs.counts).reshape(pairs.counts.shape)
        norms = longest(batch, x).cpu().numpy()
        gate, in_ = (pairs.real(part) for part in (routed.gate, routed.in_))
        for example, row in enumerate(batch.rows.tolist()):
            length = int(batch.lengths[example])
            for neuron in self._gather.by_row[row]:
                name = size.neuron(layer, neuron)
                if not is_routed(name.expert):
                    own = mixed.shared[int(name.expert.removeprefix(SHARED) or 0)]
                    values = [part[example, :length, name.neuron].float().cpu().numpy() for part in (own.gate, own.in_)]
                    self._gather.put_one(row, neuron, values[0], values[1], float(norms[example]))
                    continue
                expert = int(name.expert[1:])
                end = int(ends[expert, example])
                at = slice(end - int(pairs.counts[expert, example]), end)
                token = torch.from_numpy(pairs.token[at]).to(x.device)
                share = torch.where(routed.chosen[token] == expert, routed.weight[token], 0).sum(1)
                three = np.full((3, length), np.nan, np.float32)
                for place, part in enumerate((gate[at, name.neuron], in_[at, name.neuron], share)):
                    three[place, pairs.position[at]] = part.float().cpu().numpy()
                self._gather.put_one(row, neuron, three[0], three[1], float(norms[example]), three[2])

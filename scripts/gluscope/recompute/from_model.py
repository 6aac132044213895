"""Recompute from scratch: the model runs on the texts wanted, up to the neurons' layer only. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gluscope.model.load import load
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.recompute.gather import Gather, Wanted
from gluscope.recompute.types import Recomputed
from gluscope.scan.batches import make_batches

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
) -> dict[int, Recomputed]:
    """Gate and in of neurons of one layer at their texts, by neuron.

    wanted: for each neuron the rows of its texts. device, dtype: of the forward pass; the run's own give the scan's
    numbers. batch_tokens: most tokens in a pass. Raises ModelError as `load` does.
    """
    gather = Gather(WeightRows(spec), layer, wanted)
    rows = np.array(sorted(gather.by_row), np.int64)
    lengths = dataset.lengths[rows]
    gather.set_lengths(dict(zip(rows.tolist(), lengths.tolist(), strict=True)))
    model = load(spec, device, dtype)
    batch: list[int] = []

    def on_layer(_: int, x: torch.Tensor, gate: torch.Tensor, in_: torch.Tensor, *__: torch.Tensor) -> None:
        for place, row in enumerate(batch):
            neurons = torch.tensor(gather.by_row[row], device=gate.device)
            own_gate, own_in = (t[place].index_select(-1, neurons).float().cpu().numpy() for t in (gate, in_))
            gather.put(row, own_gate, own_in, float(x[place].float().square().sum(-1).max().sqrt()))

    with model.capture([layer], on_layer):
        for places in make_batches(lengths, batch_tokens):  # equal lengths share a batch: nothing is padded
            batch = rows[places].tolist()
            model.forward(np.stack([dataset.input_ids(row) for row in batch]).astype(np.int64), stop_at_layer=layer)
    return gather.results("model", dtype)

"""The replay stage: a second forward pass that keeps gate and in of just what chosen neurons' pages show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from gluscope.core.activation import act
from gluscope.core.cost import BATCH_TOKENS
from gluscope.core.errors import ShardMismatch
from gluscope.core.provenance import versions
from gluscope.dataset.plan import Plan, Shard
from gluscope.dataset.reader import TokenDataset
from gluscope.model.spec import ModelSpec
from gluscope.replay.file import LayerPairs, ReplayWriter
from gluscope.scan.batches import PADDING, read_batches
from gluscope.scan.progress import Progress
from gluscope.summary.examples import example_rows, typical_tokens
from gluscope.summary.file import SummaryReader


@dataclass(frozen=True)
class Replayed:
    """What a replay did. pairs: neurons' texts kept. rows, tokens: texts that went through the model."""

    pairs: int
    rows: int
    tokens: int


def run_replay(
    spec: ModelSpec,
    folder: str | Path,
    plan: Plan,
    name: str,
    summary: str | Path,
    neurons: Mapping[int, Sequence[int]],
    out: str | Path,
    *,
    device: str = "auto",
    batch_tokens: int = BATCH_TOKENS,
    attributes: dict[str, Any] | None = None,
    stream: TextIO | None = None,
) -> Replayed:
    """Write the replay of shard `name` of `plan`: gate and in of `neurons` (by layer) at their texts in the shard.

    folder: the token data set's. summary: of the whole run; it says which texts, and the forward pass's dtype. Only
    texts that some neuron shows go through the model, up to the last layer that has one. Memory: the model, a batch,
    and about 50 bytes for each pair of neuron and text.
    Raises ShardMismatch for a plan or data set other than the summary's, ModelError for values beyond float16.
    """
    data = TokenDataset.open(folder)
    reader, shard = SummaryReader(summary), plan.shard(name)
    provenance = reader.provenance
    same_rows = shard.stop <= len(data) and data.digest(shard.start, shard.stop) == shard.digest
    own_print = data.record.fingerprint
    if not same_rows:
        raise plan.mismatch(f"a plan of {folder}", f"one of other rows in shard {name}")
    if provenance.dataset_fingerprint != own_print:
        step = "run the same command again from the start"
        raise ShardMismatch(f"replay {name}", f"a summary of {folder}", "one of another data set", step)
    layers = wanted_pairs(reader, spec, neurons, shard)
    rows = np.unique(np.concatenate([pairs.row for pairs in layers]))
    lengths = data.lengths
    own = {
        "model": spec.model,
        "model_revision": spec.revision,
        "dataset_fingerprint": data.record.fingerprint,
        "dtype": provenance.dtype,
        "tf32": provenance.tf32,
        "shard": name,
        "versions": versions("torch", "transformers", "numpy"),
    }
    tokens = [lengths[pairs.row] for pairs in layers]
    routed = spec.mixture is not None
    with ReplayWriter(out, layers, tokens, spec.d_mlp, own | (attributes or {}), routed) as writer:
        if len(rows):
            how = device, str(own["dtype"]), bool(own["tf32"])
            _pass(spec, data, rows, layers, writer, how, batch_tokens, f"replay {name}", stream)
    return Replayed(sum(len(pairs.row) for pairs in layers), len(rows), int(lengths[rows].sum()))


def wanted_pairs(
    summary: SummaryReader, spec: ModelSpec, neurons: Mapping[int, Sequence[int]], shard: Shard
) -> list[LayerPairs]:
    """For every layer of the model the pairs of `neurons` and the texts in the shard that their pages show."""
    function, sample = act(spec.act_fn), summary.sample()
    found = []
    for layer in range(spec.n_layers):
        rows, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for neuron, part in summary.some(layer, sorted(set(neurons.get(layer, ())))).items():
            own = example_rows(part, typical_tokens(part, sample, function))
            own = own[(own >= shard.start) & (own < shard.stop)]
            rows.append(own)
            owners.append(np.full(len(own), neuron))
        row, owner = np.concatenate(rows), np.concatenate(owners)
        order = np.lexsort((owner, row))
        found.append(LayerPairs(row[order], owner[order]))
    return found


def _pass(
    spec: ModelSpec,
    data: TokenDataset,
    rows: np.ndarray,
    layers: list[LayerPairs],
    writer: ReplayWriter,
    how: tuple[str, str, bool],
    batch_tokens: int,
    title: str,
    stream: TextIO | None,
) -> None:
    from gluscope.model.load import load_model
    from gluscope.replay.passes import ReplayPasses

    model = load_model(spec, *how)
    lengths = data.lengths[rows]
    passes = ReplayPasses(model, layers, writer)
    with Progress(int(lengths.sum()), title, stream) as progress, passes:
        for batch in read_batches(
            data, rows, lengths, batch_tokens, PADDING[model.device.type], None, model.alone_beyond
        ):
            passes.run(batch)
            progress.add(batch.tokens)
        passes.finish()

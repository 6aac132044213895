"""The recompute stage: gate and in of one neuron, or of many of a layer, at the texts that their pages show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gluscope.cache.reader import CacheReader
from gluscope.core.activation import act
from gluscope.core.convention import view
from gluscope.core.cost import BATCH_TOKENS
from gluscope.core.errors import ShardMismatch, StoreError
from gluscope.core.provenance import RunProvenance
from gluscope.dataset.reader import TokenDataset
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.recompute.agreement import agreement
from gluscope.recompute.diagnosis import diagnosed
from gluscope.recompute.from_cache import from_cache
from gluscope.recompute.from_replay import from_replay
from gluscope.recompute.gather import Wanted
from gluscope.recompute.positions import with_positions
from gluscope.recompute.types import Recomputed, Source
from gluscope.replay.file import ReplayReader
from gluscope.store.damage import refuse_other_shard, to_redo
from gluscope.summary.examples import example_rows, typical_tokens
from gluscope.summary.file import SummaryReader
from gluscope.summary.types import LayerSummary

if TYPE_CHECKING:
    from gluscope.model.capture import GatedModel

_ROOM = 3 << 30  # bytes of results that are in memory together: at k 16 and 450 tokens a text, 4000 neurons'


@dataclass(frozen=True)
class Origin:
    """Where values come from, and what that takes.

    source: "cache", "replay" or "model". folders: the cache or replay of each shard. device, batch_tokens: of the
    model's forward pass. threads: that read a cache. compiled: whether to compile for that, see `CacheReader`. model:
    one that is loaded already, with the run's dtype.
    """

    source: Source
    folders: Sequence[str | Path] = ()
    device: str = "auto"
    batch_tokens: int = BATCH_TOKENS
    threads: int = 1
    compiled: bool = False
    model: GatedModel | None = None


def recompute(
    spec: ModelSpec,
    summary: str | Path,
    tokens: str | Path,
    layer: int,
    outputs: Mapping[int, str | Path],
    origin: Origin,
) -> None:
    """Write the recomputed values of neurons of one layer, each to its file in `outputs`; see `recomputed`."""
    for neuron, values in recomputed(spec, summary, tokens, layer, outputs, origin):
        values.save(outputs[neuron])


def recomputed(
    spec: ModelSpec,
    summary: str | Path,
    tokens: str | Path,
    layer: int,
    neurons: Iterable[int],
    origin: Origin,
) -> Iterator[tuple[int, Recomputed]]:
    """Recomputed values of neurons of one layer, in their order.

    summary: of the run. tokens: folder of the token data set. What a cache or replay holds is read once for all
    neurons whose values fit into memory together (`_ROOM`); with `origin.source` "model" the model runs once for them,
    up to the layer.
    Raises ShardMismatch for files of another model or data set, StoreError for damage and where recomputed values
    differ from the listed ones by more than rounding explains (it names the neuron).
    """
    wanted_here = sorted(neurons)
    if not wanted_here:
        return
    reader = SummaryReader(summary)
    provenance = reader.provenance
    weights, function = WeightRows(spec), act(spec.act_fn)
    parts, sample = _raw_summaries(reader, layer, wanted_here), reader.sample()
    rows = {n: example_rows(part, typical_tokens(part, sample, function)) for n, part in parts.items()}
    for wanted in _in_room(rows, tokens):
        found = _values(spec, weights, tokens, layer, wanted, origin, provenance)
        for neuron in wanted:
            values = found.pop(neuron)
            try:
                agreement(with_positions(parts[neuron], values, function), values, function, provenance.forward_format)
            except StoreError as error:
                raise diagnosed(error, origin.source, provenance, spec, tokens) from error
            yield neuron, values


def _in_room(wanted: Wanted, tokens: str | Path) -> Iterator[Wanted]:
    """Neurons, in their order, so many at a time as have room; one always has."""
    if len(wanted) == 1:
        yield wanted
        return
    lengths, size = TokenDataset.open(tokens).lengths, 0
    part: dict[int, np.ndarray] = {}
    for neuron, rows in wanted.items():
        own = 2 * np.dtype(np.float32).itemsize * int(lengths[rows].sum())
        if part and size + own > _ROOM:
            yield part
            part, size = {}, 0
        part[neuron] = rows
        size += own
    yield part


def _raw_summaries(reader: SummaryReader, layer: int, neurons: list[int]) -> dict[int, LayerSummary]:
    """Summaries of single neurons, in the raw convention whatever the run's is, by the sign that it stores."""
    parts = reader.some(layer, neurons)
    sign, has = reader.sign()[layer], reader.provenance.convention
    return {neuron: view(part, sign[neuron : neuron + 1], has, "raw") for neuron, part in parts.items()}


def _values(
    spec: ModelSpec,
    weights: WeightRows,
    tokens: str | Path,
    layer: int,
    wanted: Wanted,
    origin: Origin,
    provenance: RunProvenance,
) -> dict[int, Recomputed]:
    if origin.source == "model":
        from gluscope.recompute.from_model import from_model

        how = origin.device, provenance.dtype, origin.batch_tokens, provenance.tf32, origin.model
        return from_model(spec, TokenDataset.open(tokens), layer, wanted, *how)
    with ExitStack() as stack:
        if origin.source == "replay":
            replays = [stack.enter_context(ReplayReader(folder)) for folder in origin.folders]
            for replay in replays:
                _check_belongs(replay.path, replay.attributes, provenance)
            return from_replay(weights, replays, layer, wanted)
        caches = [stack.enter_context(CacheReader(folder, origin.compiled)) for folder in origin.folders]
        for cache in caches:
            _check_belongs(cache.path, cache.attributes, provenance)
        return from_cache(weights, caches, layer, wanted, origin.threads)


def _check_belongs(where: Path, found: dict[str, Any], provenance: RunProvenance) -> None:
    """What pages are computed from must be of the summary's model and texts.

    A cache may be older than the texts that were appended since then; the texts of its shard must be the same.
    """
    refuse_other_shard(where, found)
    expected: dict[str, Any] = {key: getattr(provenance, key) for key in ("model_revision", "dataset_fingerprint")}
    if "rows_digest" in found and provenance.rows_digest is not None:
        expected.pop("dataset_fingerprint", None)
        expected["rows_digest"] = provenance.rows_digest.get(found.get("shard", ""))
    for key, value in expected.items():
        if found.get(key) != value:
            raise to_redo(ShardMismatch, where, str(where), f"{key} {value}, as in the summary", str(found.get(key)))

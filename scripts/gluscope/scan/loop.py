"""The scan of one shard: forward passes over its texts, reduced while they run; cache and samples on the side."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from gluscope.cache.writer import CacheWriter
from gluscope.core.cores import usable_cores
from gluscope.core.provenance import versions
from gluscope.dataset.plan import Plan, Shard
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.record import TokenRecord, verify
from gluscope.model.spec import ModelSpec
from gluscope.scan.batches import PADDING, TokenBatch, processing_order, read_batches
from gluscope.scan.progress import Progress
from gluscope.scan.sample import choose_sample
from gluscope.scan.skip import skipped_by
from gluscope.summary.file import write_summary
from gluscope.summary.types import LayerSummary, SampleTokens


@dataclass(frozen=True)
class ScanSettings:
    """What a run says of its scan; names, meanings and defaults are those of the config's run keys.

    cache_dtype: None where there is no cache. batch_tokens: most tokens of a forward pass. reducer: "auto", or a kind
    that `make_reducer` knows; what is kept with the results is the kind that was used. Neither of the last two changes
    the results.
    """

    k: int
    skip_tokens: Sequence[str | int]
    seed: int
    samples: int
    device: str
    dtype: str
    tf32: bool
    cache_dtype: str | None
    batch_tokens: int
    reducer: str = "auto"


@dataclass(frozen=True)
class Scanned:
    """What a scan did.

    seconds: of the passes alone, without loading and writing out. halved: batches that did not fit into memory.
    reducer: the kind that was used.
    """

    rows: int
    tokens: int
    seconds: float
    halved: int
    reducer: str = "none"


def run_scan(
    spec: ModelSpec,
    folder: str | Path,
    plan: Plan,
    name: str,
    settings: ScanSettings,
    out: str | Path,
    cache: str | Path | None = None,
    attributes: dict[str, Any] | None = None,
    stream: TextIO | None = None,
) -> Scanned:
    """Scan shard `name` of `plan`: rows of the token data set in `folder`, with the model that `spec` describes.

    Writes statistics and samples in the raw convention to `out` (a zarr group in a zip file) and, if `cache` is a
    path, x of every layer and token there, in the order of `processing_order` over the shard's rows. Both appear when
    they are complete, the cache first. A row with the tokens of a lower one is counted and stands in no list.
    attributes: kept in `out` beside those of `describe_scan`.

    Raises ShardMismatch for a plan of another data set, StoreError for a damaged one, DatasetError for token ids that
    the model lacks, ModelError for activations that are not finite (it names the layer) or too large for the cache's
    number format, and for a text that does not fit into memory.
    """
    settings = replace(settings, dtype=spec.number_format(settings.dtype))
    record = verify(folder)
    record.check_fits(spec, str(folder))
    data, shard = TokenDataset.open(folder), plan.shard(name)
    if shard.stop > len(data) or data.digest(shard.start, shard.stop) != shard.digest:
        expected = f"rows {shard.start}-{shard.stop - 1} of {folder} with digest {shard.digest[:12]}, as in the plan"
        found = f"{data.digest(shard.start, shard.stop)[:12]}" if shard.stop <= len(data) else f"{len(data)} rows"
        raise plan.mismatch(f"for shard {name} {expected}", found)
    skipped = skipped_by(settings.skip_tokens, data, spec)
    unsampled = functools.partial(data.is_one_of, skipped) if skipped else None
    sample = _within(choose_sample(settings.seed, data.lengths, settings.samples, unsampled), shard)
    about = describe_scan(spec, record, plan, shard, settings) | _skips(data, shard, skipped) | (attributes or {})
    if shard.rows == 0:
        return _write_empty(spec, settings, sample, out, cache, about)
    return _scan(spec, data, shard, settings, sample, out, cache, about, stream)


def describe_scan(
    spec: ModelSpec, record: TokenRecord, plan: Plan, shard: Shard, settings: ScanSettings
) -> dict[str, Any]:
    """Attributes of a shard's statistics: all that is needed to repeat it, and to see which shards belong together."""
    return {
        **spec.attributes,
        **record.attributes,
        "plan": plan.base,
        "shard": shard.name,
        "rows_digest": shard.digest,
        "first_row": shard.start,
        "last_row": shard.stop - 1,
        "rows": shard.rows,
        "convention": "raw",
        **_mixture(spec),
        **asdict(settings),
        "versions": versions("torch", "transformers", "transformer_lens", "numba", "numpy"),
    }


def _skips(data: TokenDataset, shard: Shard, skipped: list[int]) -> dict[str, Any]:
    """How many tokens of a shard its statistics are of, and how many they leave out."""
    left_out = int(data.is_one_of(skipped, shard.start, shard.stop).sum()) if skipped else 0
    return {"tokens": shard.tokens - left_out, "skipped": left_out, "skipped_ids": skipped}


def _mixture(spec: ModelSpec) -> dict[str, Any]:
    """What the places of the neuron axis are, for who reads the results without us."""
    if spec.mixture is None:
        return {}
    keys = ("layers", "dense", "shared", "experts", "each")
    return {"mixture": {key: _listed(getattr(spec.mixture, key)) for key in keys}}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _within(sample: SampleTokens, shard: Shard) -> SampleTokens:
    part = slice(*np.searchsorted(sample.example, [shard.start, shard.stop]))
    return SampleTokens(sample.example[part], sample.position[part])


def _write_empty(
    spec: ModelSpec, settings: ScanSettings, sample: SampleTokens, out: str | Path, cache: str | Path | None, about: Any
) -> Scanned:
    """A shard without texts needs no model."""
    with ExitStack() as stack:
        if cache is not None:
            nothing = np.zeros(0, np.int64)
            stack.enter_context(_cache_writer(cache, spec, settings, nothing, nothing, about))
    about |= {"reducer": Scanned.reducer}
    layers = (LayerSummary.empty(spec.d_mlp, settings.k) for _ in range(spec.n_layers))
    routed = np.zeros((spec.n_layers, spec.mixture.experts), np.int64) if spec.mixture else None
    write_summary(out, layers, n_layers=spec.n_layers, sample=sample, attributes=about, routed=routed)
    return Scanned(0, 0, 0.0, 0)


def _scan(
    spec: ModelSpec,
    data: TokenDataset,
    shard: Shard,
    settings: ScanSettings,
    sample: SampleTokens,
    out: str | Path,
    cache: str | Path | None,
    about: dict[str, Any],
    stream: TextIO | None,
) -> Scanned:
    from gluscope.model.load import load_model
    from gluscope.scan.experts import MixtureReducer
    from gluscope.scan.once import OnceReducer
    from gluscope.scan.passes import Passes
    from gluscope.scan.reduce import PartsReducer, Reducer, make_reducer

    model = load_model(spec, settings.device, settings.dtype, settings.tf32)
    device = model.device.type
    how = model.dtype, spec.fused
    lengths, copies = data.lengths[shard.start : shard.stop], data.copies(shard.start, shard.stop)

    def make(layers: int, neurons: int, parts: bool) -> PartsReducer:
        """parts: of texts come some tokens only, which no kernel of a GPU takes yet."""
        kind = "torch" if parts and device != "cpu" else settings.reducer
        first = make_reducer(layers, neurons, settings.k, device, kind, *how)
        if not copies.any():
            return first
        others = make_reducer(layers, neurons, 1, device, first.kind, *how)
        return OnceReducer(first, others, np.flatnonzero(copies) + shard.start)

    reducer: Reducer | MixtureReducer
    if spec.mixture is None:
        reducer = make(spec.n_layers, spec.d_mlp, False)
    else:
        reducer = MixtureReducer(spec.size, settings.k, make)
    about |= {"device": device, "dtype": str(model.dtype).removeprefix("torch.")}
    about |= {"reducer": reducer.kind, "attention": model.attention}
    order = processing_order(lengths, copies)
    with ExitStack() as writing:
        writer = None
        if cache is not None:
            writer = writing.enter_context(
                _cache_writer(cache, spec, settings, order + shard.start, lengths[order], about, writers(device))
            )
        passes = Passes(model, reducer, sample, writer, settings.cache_dtype, about["skipped_ids"])
        start = time.monotonic()
        with Progress(shard.tokens, f"scan {shard.name}", stream) as progress, passes:
            for batch in batches_of(data, shard, settings.batch_tokens, PADDING[device], model.alone_beyond):
                passes.run(batch)
                progress.add(batch.tokens)
            passes.finish()
        seconds = time.monotonic() - start
        layers = _and_then(passes.layers(), writing.close)
        routed = reducer.routed if isinstance(reducer, MixtureReducer) else None
        write_summary(out, layers, n_layers=spec.n_layers, sample=sample, attributes=about, routed=routed)
    return Scanned(shard.rows, shard.tokens, seconds, passes.halved, reducer.kind)


def _and_then(layers: Iterator[LayerSummary], end: Callable[[], None]) -> Iterator[LayerSummary]:
    """The layers, then `end()`: the cache gets its name when all statistics are sound, and before they get theirs."""
    yield from layers
    end()


def writers(device: str) -> int:
    """How many threads write a cache beside a pass on this kind of device."""
    return 1 if device == "cpu" else max(1, min(12, usable_cores() - 2))


def _cache_writer(
    path: str | Path,
    spec: ModelSpec,
    settings: ScanSettings,
    rows: np.ndarray,
    lengths: np.ndarray,
    about: dict[str, Any],
    threads: int = 1,
) -> CacheWriter:
    return CacheWriter(
        path,
        n_layers=spec.n_layers,
        d_model=spec.d_model,
        dtype=settings.cache_dtype or "",
        rows=rows,
        lengths=lengths,
        attributes=about,
        threads=threads,
        experts=spec.mixture.chosen if spec.mixture else 0,
    )


def batches_of(
    data: TokenDataset, shard: Shard, max_tokens: int, padding: float, alone_beyond: int | None = None
) -> Iterator[TokenBatch]:
    """The shard's texts in the order in which they are processed."""
    rows = np.arange(shard.start, shard.stop)
    copies = data.copies(shard.start, shard.stop)
    return read_batches(data, rows, data.lengths[rows], max_tokens, padding, copies, alone_beyond)

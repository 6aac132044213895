"""The scan against a plain forward pass over the same texts, in rounds that take turns."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gluscope.bench.rounds import Effort, Texts, cache_writer, plain_pass
from gluscope.bench.shapes import Shape, cut
from gluscope.bench.straight import Straightforward
from gluscope.bench.timing import Spans, Spread, has_events, in_turn, ratios, seconds
from gluscope.model.capture import GatedModel
from gluscope.recompute.examples import example_rows
from gluscope.recompute.replay_passes import ReplayPasses
from gluscope.scan.batches import TokenBatch
from gluscope.scan.passes import Passes
from gluscope.scan.reduce import Reducer, make_reducer
from gluscope.store.cache import CacheWriter
from gluscope.store.replay import LayerPairs, ReplayWriter
from gluscope.store.summary import write_summary
from gluscope.summary.types import SampleTokens

K = 16
_PLAIN_PADDING = {"one text at a time": 0.0, "up to 5 % padding": 0.05, "any padding": 1.0}


@dataclass
class Forward:
    """What was found for one shape.

    times: by round, seconds of each way. reduction: seconds in the reducer by round, of the scan without cache.
    tokens, texts: by round. batching: the fastest for the plain pass, of `tried`, in microseconds a token. close:
    seconds to finish the cache. write_out: to write the statistics. cache_bytes: of all rounds. replay: its pass
    against the plain one over the texts of the first quarter of the rounds, and replay_bytes what it keeps of them.
    plans: seconds of a first pass with the attention that torch itself chooses on a GPU, over one with the same
    batches after it.
    """

    shape: Shape
    batching: str = ""
    tried: dict[str, float] = field(default_factory=dict)
    times: list[dict[str, float]] = field(default_factory=list)
    reduction: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    close: float = 0.0
    cache_bytes: int = 0
    replay_bytes: int = 0
    replay: Spread = field(default_factory=lambda: Spread(0, 0, 0))
    reducer: str = ""
    write_out: float = 0.0
    plans: tuple[float, float] | None = None

    def has(self, name: str) -> bool:
        """Whether it was timed in some round."""
        return any(name in times for times in self.times)

    def ratio(self, name: str) -> Spread:
        return ratios(self.times, name, "plain")

    @property
    def reduction_share(self) -> Spread:
        """Time in the reducer over that of the plain pass, by round."""
        return Spread.of([own / one["plain"] for own, one in zip(self.reduction, self.times, strict=True)])

    def sum_until(self, name: str, rounds: int) -> float:
        """Time of the first rounds over that of the plain pass; of those of them that have both."""
        part = [one for one in self.times[:rounds] if name in one]
        return sum(one[name] for one in part) / sum(one["plain"] for one in part)

    def reduction_until(self, rounds: int) -> float:
        return sum(self.reduction[:rounds]) / sum(one["plain"] for one in self.times[:rounds])

    @property
    def microseconds(self) -> float:
        """Of the plain pass, a token."""
        return sum(one["plain"] for one in self.times) / sum(self.tokens) * 1e6


def measure(model: GatedModel, shape: Shape, effort: Effort, folder: Path, most_bytes: float) -> Forward:
    """Time all ways for a model; the scan goes on from round to round, as one scan over all the rounds' texts.

    most_bytes: of the cache, which is written in as many rounds as that allows.
    """
    texts = Texts(shape, effort, model.device.type)
    found = Forward(shape, tokens=texts.tokens, texts=texts.counts)
    found.batching, plain_batches = _fastest_batching(model, texts, effort, found)
    fitting = effort.fitting(found.tried[found.batching])
    if fitting.rounds < effort.rounds:
        effort, texts = fitting, Texts(shape, fitting, model.device.type)
        found.tokens, found.texts = texts.tokens, texts.counts
    scan, cached_rounds = _Scan(model, texts, None), texts.rounds_within(most_bytes, shape)
    with cache_writer(folder / "cache.zarr", shape, texts, cached_rounds) as writer:
        cached = _Scan(model, texts, writer)
        found.reducer = type(scan.reducer.inner).__name__
        straight = Straightforward(model, K) if effort.straight else None
        _warm_up(model, texts, straight)
        for number in range(effort.rounds):
            ways: dict[str, Callable[[], object]] = {
                "plain": partial(plain_pass, model, plain_batches[number]),
                "plain again": partial(plain_pass, model, plain_batches[number]),
                "scan": partial(scan.run, number),
            }
            if number < cached_rounds:
                ways["scan with cache"] = partial(cached.run, number)
            if straight is not None and number % max(1, effort.rounds // effort.straight) == 0:
                ways["straightforward"] = partial(straight.run, texts.batches[number])
            found.times.append(in_turn(ways, model.device, number))
            found.reduction.append(scan.reducer.spans.take().get("reduction", 0.0))
            cached.reducer.spans.take()
        del straight
        found.close = seconds(writer.finish, model.device)
    found.cache_bytes = _bytes_in(folder / "cache.zarr")
    shutil.rmtree(folder / "cache.zarr")
    found.write_out = seconds(partial(_write_out, shape, scan.reducer, folder / "scan.zarr.zip"), model.device)
    _measure_replay(model, texts, scan.reducer, plain_batches, effort, folder / "replay.zarr", found)
    return found


class _Timed:
    """A reducer that knows how long it took."""

    def __init__(self, inner: Reducer, device: torch.device) -> None:
        self.inner, self.spans = inner, Spans(device)
        self.kind, self.takes_padding = inner.kind, inner.takes_padding

    def update(self, layer: int, rows: np.ndarray, lengths: np.ndarray, *values: torch.Tensor) -> None:
        with self.spans.span("reduction"):
            self.inner.update(layer, rows, lengths, *values)

    def layer_summary(self, layer: int) -> Any:
        return self.inner.layer_summary(layer)


class _Scan:
    """A scan that stops after each round."""

    def __init__(self, model: GatedModel, texts: Texts, writer: CacheWriter | None) -> None:
        spec = model.spec
        self._model, self._texts, self._writer = model, texts, writer
        self.reducer = _Timed(make_reducer(spec.n_layers, spec.d_mlp, K, model.device.type), model.device)

    def run(self, number: int) -> None:
        sample = self._texts.sample_of(number)
        with Passes(self._model, self.reducer, sample, self._writer, "float16") as passes:
            for batch in self._texts.batches[number]:
                passes.run(batch)
            passes.finish()


def _fastest_batching(
    model: GatedModel, texts: Texts, effort: Effort, found: Forward
) -> tuple[str, list[list[TokenBatch]]]:
    """Try all on the first texts, twice each after a warm-up."""
    firsts = np.cumsum([0, *texts.counts])
    most = effort.batch_tokens if model.device.type == "cuda" else min(4096, effort.batch_tokens)
    made = {
        name: [cut(ids, int(first), most, padding) for ids, first in zip(texts.ids, firsts, strict=False)]
        for name, padding in _PLAIN_PADDING.items()
    }
    plain_pass(model, texts.batches[0])
    if has_events(model.device):
        chosen = partial(plain_pass, model, texts.batches[0], own_choice=True)
        first, again = (seconds(chosen, model.device) for _ in range(2))
        found.plans = first, again
    for name, rounds in made.items():
        taken = [seconds(partial(plain_pass, model, rounds[0]), model.device) for _ in range(2)]
        found.tried[name] = min(taken) / texts.tokens[0] * 1e6
    best = min(found.tried, key=found.tried.__getitem__)
    return best, made[best]


def _warm_up(model: GatedModel, texts: Texts, straight: Straightforward | None) -> None:
    """Compile and allocate, outside the times: fixed costs are shown by themselves."""
    shortest = min((batch for part in texts.batches for batch in part), key=lambda batch: batch.tokens)
    nothing = SampleTokens(np.zeros(0, np.int64), np.zeros(0, np.int32))
    spec = model.spec
    with Passes(model, make_reducer(spec.n_layers, spec.d_mlp, K, model.device.type), nothing, None, "float16") as one:
        one.run(shortest)
        one.finish()
    if straight is not None:
        straight.run([shortest])


def _write_out(shape: Shape, reducer: _Timed, path: Path) -> None:
    nothing = SampleTokens(np.zeros(0, np.int64), np.zeros(0, np.int32))
    layers = (reducer.layer_summary(layer) for layer in range(shape.n_layers))
    write_summary(path, layers, n_layers=shape.n_layers, sample=nothing, attributes={})


def _measure_replay(
    model: GatedModel,
    texts: Texts,
    reducer: _Timed,
    plain_batches: list[list[TokenBatch]],
    effort: Effort,
    out: Path,
    found: Forward,
) -> None:
    """A replay of some neurons of every layer; only texts that one of them lists go through the model."""
    pairs, some = [], -(-effort.rounds // 4)
    for layer in range(model.spec.n_layers):
        whole = reducer.layer_summary(layer)
        chosen = range(min(effort.replay_neurons, model.spec.d_mlp))
        found_rows = {neuron: example_rows(whole.neuron(neuron)) for neuron in chosen}
        rows = {neuron: own[own < sum(texts.counts[:some])] for neuron, own in found_rows.items()}
        row = np.concatenate(list(rows.values()))
        owner = np.concatenate([np.full(len(own), neuron) for neuron, own in rows.items()])
        order = np.lexsort((owner, row))
        pairs.append(LayerPairs(row[order], owner[order]))
    batches = [batch for part in texts.batches[:some] for batch in part]
    taken = []
    plain = partial(plain_pass, model, [batch for part in plain_batches[:some] for batch in part])
    for attempt in range(min(3, effort.rounds)):
        path = out.with_name(f"replay-{attempt}.zarr")
        replay = partial(_replay, model, pairs, texts.lengths, batches, path)
        times = in_turn({"replay": replay, "plain": plain}, model.device, attempt)
        taken.append(times["replay"] / times["plain"])
        found.replay_bytes = _bytes_in(path)
        shutil.rmtree(path)
    found.replay = Spread.of(taken)


def _replay(
    model: GatedModel, pairs: list[LayerPairs], lengths: np.ndarray, batches: list[TokenBatch], out: Path
) -> None:
    tokens = [lengths[own.row] for own in pairs]
    with ReplayWriter(out, pairs, tokens, model.spec.d_mlp, {}) as writer, ReplayPasses(model, pairs, writer) as passes:
        wanted = np.unique(np.concatenate([own.row for own in pairs]))
        for batch in batches:
            if np.isin(batch.rows, wanted).any():
                passes.run(batch)
        passes.finish()


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

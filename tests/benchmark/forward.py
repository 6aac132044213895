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
from gluscope.cache.writer import CacheWriter
from gluscope.model.capture import GatedModel
from gluscope.replay.file import LayerPairs, ReplayWriter
from gluscope.replay.passes import ReplayPasses
from gluscope.scan.batches import TokenBatch
from gluscope.scan.experts import MixtureReducer
from gluscope.scan.loop import writers
from gluscope.scan.passes import Passes
from gluscope.scan.reduce import PartsReducer, Reducer, make_reducer
from gluscope.summary.examples import example_rows
from gluscope.summary.types import SampleTokens

from benchmark.rounds import Effort, Texts, plain_pass
from benchmark.shapes import Shape
from benchmark.timing import Spread, between, has_events, in_turn, mark, seconds

K = 16
_PLAIN_PADDING = {"one text at a time": 0.0, "up to 5 % padding": 0.05, "any padding": 1.0}
# Not batched_mm, which copies an expert's weights for each token that is sent to it.
_PLAIN_EXPERTS = ("grouped_mm", "eager")


@dataclass
class Forward:
    """What was found for one shape.

    times: by round, seconds of each way. reduction: seconds in the reducer by round, of the scan without cache.
    tokens, texts: by round. batching: the fastest for the plain pass, of `tried`, in microseconds a token; its
    `padding`, and for a mixture `experts`, one of transformers' implementations. cache_bytes: of all rounds.
    replay: its pass against the plain one over the texts of the first quarter of the rounds, and replay_bytes what it
    keeps of them; not of a mixture. plans: seconds of a first pass with the attention that torch itself chooses on a
    GPU, over one with the same batches after it.
    """

    shape: Shape
    batching: str = ""
    padding: float = 0.0
    experts: str = ""
    tried: dict[str, float] = field(default_factory=dict)
    times: list[dict[str, float]] = field(default_factory=list)
    reduction: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    cache_bytes: int = 0
    replay_bytes: int = 0
    replay: Spread = field(default_factory=lambda: Spread(0, 0, 0))
    reducer: str = ""
    plans: tuple[float, float] | None = None

    def has(self, name: str) -> bool:
        """Whether it was timed in some round."""
        return any(name in times for times in self.times)

    def ratio(self, name: str) -> Spread:
        """To the plain pass of the same round."""
        return Spread.of([one[name] / one["plain"] for one in self.times if name in one])

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
    found, texts = Forward(shape), Texts(shape, effort, model.device.type)
    plain_batches = _fastest_batching(model, texts, effort, found)
    fitting = effort.fitting(found.tried[found.batching])
    if fitting.rounds < effort.rounds:
        effort = fitting
        texts = Texts(shape, effort, model.device.type)
        plain_batches = texts.cut(_most(model, effort), found.padding)
    found.tokens, found.texts = texts.tokens, texts.counts
    scan, cached_rounds = _Scan(model, texts, None), texts.rounds_within(most_bytes, shape)
    rows = texts.order(cached_rounds)
    with CacheWriter(
        folder / "cache.zarr", n_layers=shape.n_layers, d_model=shape.d_model, dtype="float16", rows=rows,
        lengths=texts.lengths[rows], attributes={}, threads=writers(model.device.type), experts=shape.chosen,
    ) as writer:  # fmt: skip
        cached = _Scan(model, texts, writer)
        found.reducer = scan.reducer.kind
        _warm_up(model, texts)
        for number in range(effort.rounds):
            plain = partial(plain_pass, model, plain_batches[number], found.experts)
            ways: dict[str, Callable[[], object]] = {
                "plain": plain, "plain again": plain, "scan": partial(scan.run, number),
            }  # fmt: skip
            if number < cached_rounds:
                ways["scan with cache"] = partial(cached.run, number)
            found.times.append(in_turn(ways, model.device, number))
            found.reduction.append(scan.clock.take())
    found.cache_bytes = _bytes_in(folder / "cache.zarr")
    shutil.rmtree(folder / "cache.zarr")
    if not isinstance(scan.reducer, MixtureReducer):
        _measure_replay(model, texts, scan.reducer, plain_batches, effort, folder, found)
    return found


class _Clock:
    """Knows how long a reducer took."""

    def __init__(self, reducer: Reducer | MixtureReducer, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[Any, Any]] = []
        for name in ("update", "update_shared", "update_routed"):
            if inner := getattr(reducer, name, None):
                setattr(reducer, name, partial(self._timed, inner))

    def _timed(self, update: Callable[..., None], *given: Any) -> None:
        begin = mark(self._device)
        update(*given)
        self._marks.append((begin, mark(self._device)))

    def take(self) -> float:
        """Seconds since the last `take`."""
        marks, self._marks = self._marks, []
        return sum(between(*own) for own in marks)


def _reducer(model: GatedModel) -> Reducer | MixtureReducer:
    spec, device = model.spec, model.device.type

    def make(layers: int, neurons: int, parts: bool) -> PartsReducer:
        return make_reducer(layers, neurons, K, device, "torch" if parts and device != "cpu" else "auto")

    return MixtureReducer(spec.size, K, make) if spec.mixture else make(spec.n_layers, spec.d_mlp, False)


class _Scan:
    """A scan that stops after each round."""

    def __init__(self, model: GatedModel, texts: Texts, writer: CacheWriter | None) -> None:
        self._model, self._texts, self._writer = model, texts, writer
        self.reducer = _reducer(model)
        self.clock = _Clock(self.reducer, model.device)

    def run(self, number: int) -> None:
        sample = self._texts.sample_of(number)
        with Passes(self._model, self.reducer, sample, self._writer, "float16") as passes:
            for batch in self._texts.batches[number]:
                passes.run(batch)
            passes.finish()


def _most(model: GatedModel, effort: Effort) -> int:
    """Tokens of a plain pass's batch."""
    return effort.batch_tokens if model.device.type == "cuda" else min(4096, effort.batch_tokens)


def _fastest_batching(model: GatedModel, texts: Texts, effort: Effort, found: Forward) -> list[list[TokenBatch]]:
    """Try all on the first texts, twice each after a warm-up; returns the batches of the fastest."""
    ways = [(name, experts) for name in _PLAIN_PADDING for experts in (_PLAIN_EXPERTS if model.spec.mixture else ("",))]
    plain_pass(model, texts.batches[0])
    if has_events(model.device):
        chosen = partial(plain_pass, model, texts.batches[0], ways[0][1], own_choice=True)
        found.plans = seconds(chosen, model.device), seconds(chosen, model.device)
    for name, experts in ways:
        (first, *_), work = texts.cut(_most(model, effort), _PLAIN_PADDING[name]), partial(plain_pass, model)
        taken = [seconds(partial(work, first, experts), model.device) for _ in range(2)]
        found.tried[_way(name, experts)] = min(taken) / texts.tokens[0] * 1e6
    fastest = min(ways, key=lambda way: found.tried[_way(*way)])
    found.padding, found.experts, found.batching = _PLAIN_PADDING[fastest[0]], fastest[1], _way(*fastest)
    return texts.cut(_most(model, effort), found.padding)


def _way(batching: str, experts: str) -> str:
    return f"{batching}, {experts}" if experts else batching


def _warm_up(model: GatedModel, texts: Texts) -> None:
    """Compile and allocate, outside the times."""
    shortest = min((batch for part in texts.batches for batch in part), key=lambda batch: batch.tokens)
    nothing = SampleTokens(np.zeros(0, np.int64), np.zeros(0, np.int32))
    with Passes(model, _reducer(model), nothing, None, "float16") as passes:
        passes.run(shortest)
        passes.finish()


def _measure_replay(
    model: GatedModel, texts: Texts, reducer: Reducer, plain: list[list[TokenBatch]], effort: Effort, folder: Path,
    found: Forward,
) -> None:  # fmt: skip
    """A replay of some neurons of every layer; only texts that one of them lists go through the model."""
    pairs, some = [], -(-effort.rounds // 4)
    for layer in range(model.spec.n_layers):
        whole = reducer.layer_summary(layer)
        chosen = range(min(effort.replay_neurons, model.spec.d_mlp))
        listed = [example_rows(whole.neuron(neuron)) for neuron in chosen]
        rows = [own[own < sum(texts.counts[:some])] for own in listed]
        row, owner = np.concatenate(rows), np.repeat(np.array(chosen), [len(own) for own in rows])
        order = np.lexsort((owner, row))
        pairs.append(LayerPairs(row[order], owner[order]))
    batches, plain_batches = ([batch for part in all_[:some] for batch in part] for all_ in (texts.batches, plain))
    path, taken = folder / "replay.zarr", []
    for attempt in range(min(3, effort.rounds)):
        ways = {
            "replay": partial(_replay, model, pairs, texts.lengths, batches, path),
            "plain": partial(plain_pass, model, plain_batches),
        }
        times = in_turn(ways, model.device, attempt)
        taken.append(times["replay"] / times["plain"])
        found.replay_bytes = _bytes_in(path)
        shutil.rmtree(path)
    found.replay = Spread.of(taken)


def _replay(
    model: GatedModel, pairs: list[LayerPairs], lengths: np.ndarray, batches: list[TokenBatch], out: Path
) -> None:
    tokens = [lengths[own.row] for own in pairs]
    wanted = np.unique(np.concatenate([own.row for own in pairs]))
    with ReplayWriter(out, pairs, tokens, model.spec.d_mlp, {}) as writer, ReplayPasses(model, pairs, writer) as passes:
        for batch in batches:
            if np.isin(batch.rows, wanted).any():
                passes.run(batch)
        passes.finish()


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

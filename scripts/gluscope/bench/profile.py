"""Where a scan's time goes: timers around the model's parts and around what is done with their values."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gluscope.bench.forward import K
from gluscope.bench.rounds import Effort, Texts, cache_writer
from gluscope.bench.shapes import Shape
from gluscope.bench.timing import Spans, seconds
from gluscope.model.capture import GatedModel
from gluscope.scan.passes import Passes
from gluscope.scan.reduce import Reducer, make_reducer
from gluscope.store.cache import CacheWriter
from gluscope.summary.types import SampleTokens

ATTENTION, NORMS, MATRICES, ACT, PRODUCT = "attention", "norms", "the MLP's matrices", "act", "act * in"
REDUCTION, CACHE, SAMPLE = "reduction", "x to float16, to the cache's writer", "sample, padding, what else is handed on"
REST = "embedding, residual sums, hooks, batches"
PARTS = (MATRICES, ATTENTION, NORMS, ACT, PRODUCT, REDUCTION, CACHE, SAMPLE, REST)


@dataclass
class Profile:
    """Seconds of each part of a scan with cache, over all layers and texts; they sum to `seconds`."""

    shape: Shape
    tokens: int
    seconds: float
    parts: dict[str, float] = field(default_factory=dict)

    def share(self, part: str) -> float:
        return self.parts[part] / self.seconds


def profile(model: GatedModel, shape: Shape, effort: Effort, folder: Path) -> Profile:
    """One scan with cache over all rounds' texts. The timers themselves take some of the time."""
    texts = Texts(shape, effort, model.device.type)
    spans = Spans(model.device)
    reducer = _Timed(make_reducer(shape.n_layers, shape.d_mlp, K, model.device.type), spans)
    batches = [batch for part in texts.batches for batch in part]
    with cache_writer(folder / "profile.zarr", shape, texts) as writer:
        with _TimedPasses(model, reducer, texts.sample_of(0), None, "float16", spans) as passes:
            passes.run(batches[-1])  # compiles
        reducer.inner = make_reducer(shape.n_layers, shape.d_mlp, K, model.device.type)
        spans.take()

        def run() -> None:
            with _TimedPasses(model, reducer, texts.sample, writer, "float16", spans) as passes, ExitStack() as timers:
                for timer in _time_modules(model, spans):
                    timers.callback(timer.remove)
                for batch in batches:
                    passes.run(batch)
                    spans.end_open()  # the last layer's MLP is left by an exception
                passes.finish()

        whole = seconds(run, model.device)
        writer.finish()
    return Profile(shape, sum(texts.tokens), whole, _parts(spans.take(), whole))


def _parts(found: dict[str, float], whole: float) -> dict[str, float]:
    """Spans contain one another: hand-out the reduction and the cache, the MLP its matrices and the hand-out."""
    part = {name: found.get(name, 0.0) for name in (ATTENTION, NORMS, MATRICES, ACT, REDUCTION, CACHE)}
    handed, mlp = found.get("handed on", 0.0), found.get("mlp", 0.0)
    part[SAMPLE] = handed - part[REDUCTION] - part[CACHE]
    part[PRODUCT] = mlp - part[MATRICES] - part[ACT] - handed
    part[REST] = whole - mlp - part[ATTENTION] - part[NORMS]
    return {name: part[name] for name in PARTS}


class _Timed:
    def __init__(self, inner: Reducer, spans: Spans) -> None:
        self.inner, self._spans = inner, spans
        self.kind, self.takes_padding = inner.kind, inner.takes_padding

    def update(self, *arguments: Any) -> None:
        with self._spans.span(REDUCTION):
            self.inner.update(*arguments)

    def layer_summary(self, layer: int) -> Any:
        return self.inner.layer_summary(layer)


class _TimedPasses(Passes):
    def __init__(
        self,
        model: GatedModel,
        reducer: Reducer,
        sample: SampleTokens,
        cache: CacheWriter | None,
        cache_dtype: str,
        spans: Spans,
    ) -> None:
        super().__init__(model, reducer, sample, cache, cache_dtype)
        self._spans = spans

    def _use(self, layer: int, *tensors: torch.Tensor) -> None:
        with self._spans.span("handed on"):
            super()._use(layer, *tensors)

    def _to_cache(self, x: torch.Tensor) -> torch.Tensor | None:
        with self._spans.span(CACHE):
            return super()._to_cache(x)


def _time_modules(model: GatedModel, spans: Spans) -> list[Any]:
    """Timers on all blocks. Those on the last projection begin after the values have been handed on."""
    names, handles = model.spec.modules, []
    matrices = {names[part] for part in ("gate", "in", "out")}
    for block in model.blocks.children():
        mlp = block.get_submodule(names["mlp"])
        timed: list[tuple[str, nn.Module]] = [("mlp", mlp)]
        timed += [(MATRICES, mlp.get_submodule(name)) for name in sorted(matrices)]
        timed += [(ACT, mlp.get_submodule(names["act"]))] if "act" in names else []
        timed += [(ATTENTION, child) for name, child in block.named_children() if "attn" in name]
        timed += [(NORMS, child) for child in block.children() if "Norm" in type(child).__name__]
        for name, module in timed:
            handles.append(module.register_forward_pre_hook(_calls(partial(spans.begin, name))))
            handles.append(module.register_forward_hook(_calls(partial(spans.end, name))))
    return handles


def _calls(function: Callable[[], object]) -> Callable[..., None]:
    def hook(*_: object) -> None:
        function()

    return hook

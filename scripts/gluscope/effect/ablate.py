"""Passes of a model with one neuron's post set to zero at some tokens. Imports torch.

What stands before the neuron's MLP is as it was, so a pass without the neuron starts at its block, from the residual
stream that the pass with it had there: the blocks before hand on what they are given. Where that does not give the same
logits to the last bit (blocks that take more than the stream from earlier ones), such passes are whole.

In a mixture of experts routers choose, without the neuron, the experts that they chose with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from gluscope.core.neuron import NeuronId, is_routed
from gluscope.model.capture import GatedModel, Mixed
from gluscope.model.experts import Routed, edit
from gluscope.model.routing import Routers
from gluscope.scan.memory import is_out_of_memory


@dataclass(frozen=True)
class Texts:
    """A batch. ids: int64 [example, position], padded on the right; lengths: int64 [example]; at: int64 [example], the
    positions whose predictions are wanted."""

    ids: np.ndarray
    lengths: np.ndarray
    at: np.ndarray


class Ablation:
    """Runs prefixes of texts with and without neurons of one layer.

    passes: forward passes so far, whole and from the layer on. from_layer: whether the latter are possible; None before
    the first batch has shown it.
    """

    def __init__(self, model: GatedModel, layer: int) -> None:
        self._model, self._layer = model, layer
        self._blocks: list[nn.Module] = list(model.blocks.children())
        self._stream: torch.Tensor | None = None
        self._routers = Routers(model)
        self.passes = {"whole": 0, "from the layer on": 0}
        self.from_layer: bool | None = None

    def as_it_is(self, texts: Texts, neuron: NeuronId) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [example, vocab], and gate, in, post [3, example, position] of the neuron; 0 where a token does not
        reach its expert."""
        seen: list[torch.Tensor] = []

        def on_layer(_: int, x: torch.Tensor, gate: torch.Tensor, in_: torch.Tensor, *more: torch.Tensor) -> None:
            seen.append(torch.stack([part[..., neuron.neuron] for part in (gate, in_, more[1])]))

        def on_mixture(_: int, x: torch.Tensor, mixed: Mixed) -> None:
            values = mixed.neuron(neuron.expert, neuron.neuron).reshape(4, *texts.ids.shape)
            seen.append(values[[0, 1, 3]])

        def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._stream = args[0] if args else kwargs["hidden_states"]

        handle = self._blocks[self._layer].register_forward_pre_hook(keep, with_kwargs=True)
        try:
            with self._model.capture([self._layer], on_layer, on_mixture), self._routers.noted():
                logits = self._model.logits(texts.ids, texts.lengths, texts.at)
        finally:
            handle.remove()
        self.passes["whole"] += 1
        if self.from_layer is None:
            self.from_layer = self._layer > 0 and self._is_same(logits, texts)
        return logits, seen[0]

    def without(self, texts: Texts, neuron: NeuronId, where: torch.Tensor) -> torch.Tensor:
        """The logits with the neuron's post set to zero at tokens `where`, bool [example, position]; of the texts that
        ran as they are just before."""
        with self._zeroed(neuron, where):
            return self._again(texts, bool(self.from_layer))

    def forget(self) -> None:
        """Let go of what is kept of the last batch."""
        self._stream = None
        self._routers.forget()

    def _is_same(self, logits: torch.Tensor, texts: Texts) -> bool:
        """Whether passes from the layer on give what whole ones do."""
        try:
            return torch.equal(logits, self._again(texts, True))
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return False

    def _again(self, texts: Texts, from_layer: bool) -> torch.Tensor:
        self.passes["from the layer on" if from_layer else "whole"] += 1
        with self._skipped() if from_layer else ExitStack(), self._routers.held():
            return self._model.logits(texts.ids, texts.lengths, texts.at)

    @contextmanager
    def _skipped(self) -> Iterator[None]:
        """Let the blocks before the layer hand on what they get, and the layer's get the kept stream."""

        def put(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return ((self._stream, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": self._stream})

        before = self._blocks[: self._layer]
        own = [block.__dict__.get("forward") for block in before]  # libraries put wrappers there
        handle = self._blocks[self._layer].register_forward_pre_hook(put, with_kwargs=True)
        try:
            for block in before:
                block.__dict__["forward"] = _hand_on
            yield
        finally:
            handle.remove()
            for block, forward in zip(before, own, strict=True):
                block.__dict__.pop("forward")
                if forward is not None:
                    block.__dict__["forward"] = forward

    @contextmanager
    def _zeroed(self, neuron: NeuronId, where: torch.Tensor) -> Iterator[None]:
        number = neuron.neuron

        def zero(_: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            post = args[0].clone()
            flat = post[..., number].masked_fill(where.to(post.device).reshape(post.shape[:-1]), 0)
            post[..., number] = flat
            return (post, *args[1:])

        def zero_routed(routed: Routed) -> torch.Tensor:
            post, pairs = routed.post.clone(), routed.pairs_of(int(neuron.expert[1:]))
            there = where.to(post.device).flatten()[routed.token[pairs]]
            post[pairs, number] = post[pairs, number].masked_fill(there, 0)
            return post

        if is_routed(neuron.expert):
            experts = self._model.experts(neuron.layer)
            edit(experts, zero_routed)
            try:
                yield
            finally:
                edit(experts, None)
            return
        handle = self._model.out_map(neuron.layer, neuron.expert).register_forward_pre_hook(zero)
        try:
            yield
        finally:
            handle.remove()


def _hand_on(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return hidden_states

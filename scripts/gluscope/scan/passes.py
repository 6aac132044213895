"""Forward passes that are reduced while they run: every layer's values go on at once, and nothing of them is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from gluscope.core.errors import ModelError
from gluscope.model.capture import GatedModel, Mixed
from gluscope.model.experts import Routed
from gluscope.scan.batches import TokenBatch
from gluscope.scan.copies import HostCopies
from gluscope.scan.experts import MixtureReducer, MixtureSample, Pairs
from gluscope.scan.memory import free_memory, is_out_of_memory
from gluscope.scan.reduce import Reducer
from gluscope.summary.types import LayerSummary, SampleTokens

if TYPE_CHECKING:
    from gluscope.cache.writer import CacheWriter

_CACHE_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_HALF_MAX = float(np.finfo(np.float16).max)


class ForwardPasses:
    """Runs batches through a model and hands each wanted layer's tensors on, once, however often a batch is cut.

    halved: batches that did not fit into memory and were run in two halves. That leaves the results as they are:
    layers that were handed on already are not handed on again.
    """

    def __init__(self, model: GatedModel, layers: Sequence[int]) -> None:
        self._model, self._wanted = model, layers
        self._copies = HostCopies()
        self._limit: int | None = None
        self._layers_done = 0
        self._stack = ExitStack()
        self.halved = 0

    def __enter__(self) -> Self:
        self._stack.enter_context(self._copies)
        self._stack.enter_context(self._model.capture(self._wanted, self._on_layer, self._on_mixture))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def run(self, batch: TokenBatch) -> None:
        """One forward pass, or more where memory does not suffice. Raises ModelError where one text does not fit."""
        if self._limit is not None and batch.input_ids.size > self._limit and len(batch.rows) > 1:
            for half in batch.halves():
                self.run(half)
        else:
            self._run(batch, 0)

    def finish(self) -> None:
        """Wait until all values have arrived where they go."""
        self._copies.close()

    def _begin(self, batch: TokenBatch) -> None:
        """A pass over `batch` comes next."""
        raise NotImplementedError

    def _use(
        self, layer: int, x: torch.Tensor, gate: torch.Tensor, in_: torch.Tensor, act: torch.Tensor, post: torch.Tensor
    ) -> None:
        """A layer's tensors. What takes memory comes before what changes a state: it is done whole or not at all."""
        raise NotImplementedError

    def _use_mixture(self, layer: int, x: torch.Tensor, mixed: Mixed) -> None:
        """The same of a mixture of experts."""
        raise NotImplementedError

    def _run(self, batch: TokenBatch, layers_done: int, again: bool = False) -> None:
        """A pass whose first `layers_done` layers have been handed on before. again: after it did not fit."""
        self._layers_done = layers_done
        self._begin(batch)
        try:
            # The last layer's output, the final norm and the logits are nobody's input.
            ids = to_device(batch.input_ids, self._model.device)
            self._model.forward(ids, batch.lengths, stop_at_layer=max(self._wanted))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if again:
                raise _too_long(batch, self._model) from error
        else:
            return
        # Only here, where the error and all that it holds are gone, is there memory again.
        free_memory()
        done = self._layers_done
        if len(batch.rows) == 1:
            # What earlier batches left behind may have been in its way.
            self._run(batch, done, again=True)
            return
        self.halved += 1
        self._limit = max(batch.input_ids.shape[1], batch.input_ids.size // 2)
        for half in batch.halves():
            self._run(half, done)

    def _on_layer(self, layer: int, *tensors: torch.Tensor) -> None:
        if layer >= self._layers_done:
            self._use(layer, *tensors)
            self._layers_done = layer + 1

    def _on_mixture(self, layer: int, x: torch.Tensor, mixed: Mixed) -> None:
        if layer >= self._layers_done:
            self._use_mixture(layer, x, mixed)
            self._layers_done = layer + 1


class Passes(ForwardPasses):
    """Runs batches through a model; what comes of them goes to a reducer, the sample and the cache.

    with Passes(model, reducer, sample, cache, "float16") as passes:
        for batch in batches:
            passes.run(batch)
        passes.finish()
    summaries = passes.layers()

    sample: tokens of which gate and in are kept, sorted by (example, position). cache: None for none. skipped: ids of
    tokens that the reducer is to take no notice of.
    """

    def __init__(
        self,
        model: GatedModel,
        reducer: Reducer | MixtureReducer,
        sample: SampleTokens,
        cache: CacheWriter | None,
        cache_dtype: str | None,
        skipped: Sequence[int] = (),
    ) -> None:
        spec = model.spec
        super().__init__(model, range(spec.n_layers))
        self._reducer, self._sample, self._skipped = reducer, sample, skipped
        self._cache, self._cache_dtype = cache, _CACHE_DTYPES.get(cache_dtype or "")
        self._mixture = MixtureSample(spec.size, len(sample.example)) if spec.mixture else None
        kept = (2, 0, 0, 0) if spec.mixture else (2, spec.n_layers, len(sample.example), spec.d_mlp)
        self._sampled = np.zeros(kept, np.float16)

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        super().__exit__(kind, *error)
        if kind is not None and issubclass(kind, ModelError):
            # What is not finite fits no cache either; the reducer knows in which layer it began.
            for _ in self.layers():
                pass

    def layers(self) -> Iterator[LayerSummary]:
        """The statistics with the sample, layer by layer. Raises ModelError for values that are not finite."""
        for layer in range(self._model.spec.n_layers):
            if self._mixture is not None:
                gate, in_ = self._mixture.layer(layer)
            else:
                gate, in_ = (np.ascontiguousarray(part[layer].T) for part in self._sampled)
            yield replace(self._reducer.layer_summary(layer), sample_gate=gate, sample_in=in_)

    def _begin(self, batch: TokenBatch) -> None:
        self._batch = _OnDevice(batch, self._sample, self._skipped)

    def _use(
        self, layer: int, x: torch.Tensor, gate: torch.Tensor, in_: torch.Tensor, act: torch.Tensor, post: torch.Tensor
    ) -> None:
        batch = self._batch
        cached = self._to_cache(x)
        sampled = batch.sampled(gate, in_)
        batch.blank(gate)
        values = [gate, in_, act, post]
        if not self._reducer.takes_padding:
            values = [batch.real(tensor) for tensor in values]
        # The host's memory for them is taken here; from the reduction on nothing runs out any more.
        to_cache, to_sample = (None if part is None else self._copies.begin(part) for part in (cached, sampled))
        self._reducer.update(layer, batch.rows, batch.lengths, *values)
        if self._cache is not None and to_cache is not None:
            self._copies.use(to_cache, partial(self._cache.append, layer))
        if to_sample is not None:
            self._copies.use(to_sample, partial(self._keep, layer, batch.places))

    def _use_mixture(self, layer: int, x: torch.Tensor, mixed: Mixed) -> None:
        batch, routed, reducer = self._batch, mixed.routed, self._reducer
        assert isinstance(reducer, MixtureReducer)
        pairs = Pairs.of(routed.token.cpu().numpy(), routed.pairs.cpu().numpy(), batch.counted)
        cached = self._to_cache(x)
        to_cache = None if cached is None else self._copies.begin(cached)
        choice = None if self._cache is None else [batch.real_tokens(part) for part in (routed.chosen, routed.weight)]
        to_choice = None if choice is None else [self._copies.begin(part) for part in choice]
        sampled = [(f"ES{n}" if len(mixed.shared) > 1 else "ES", batch.places, batch.sampled(own.gate, own.in_))
                   for n, own in enumerate(mixed.shared)] + list(batch.sampled_pairs(pairs, routed))  # fmt: skip
        to_sample = [(name, at, self._copies.begin(part)) for name, at, part in sampled if part is not None]
        for number, own in enumerate(mixed.shared):
            batch.blank(own.gate)
            values = [own.gate, own.in_, own.act, own.post]
            if not reducer.takes_padding:
                values = [batch.real(tensor) for tensor in values]
            reducer.update_shared(layer, number, batch.rows, batch.lengths, *values)
        values = [pairs.real(tensor) for tensor in (routed.gate, routed.in_, routed.act, routed.post)]
        reducer.update_routed(layer, batch.rows, pairs, *values)
        if self._cache is not None and to_cache is not None and to_choice is not None:
            self._copies.use(to_cache, partial(self._cache.append, layer))
            for part, append in zip(to_choice, (self._cache.append_chosen, self._cache.append_weight), strict=True):
                self._copies.use(part, partial(append, layer))
        for name, places, begun in to_sample:
            self._copies.use(begun, partial(self._mixture_keep, layer, name, places))

    def _mixture_keep(self, layer: int, expert: str, places: np.ndarray, values: np.ndarray) -> None:
        assert self._mixture is not None
        self._mixture.keep(layer, expert, places, values)

    def _to_cache(self, x: torch.Tensor) -> torch.Tensor | None:
        return None if self._cache is None else self._batch.real(x).to(self._cache_dtype, copy=True)

    def _keep(self, layer: int, places: np.ndarray, values: np.ndarray) -> None:
        if self._mixture is not None:
            self._mixture.keep(layer, "", places, values)
        else:
            self._sampled[:, layer, places] = values


class _OnDevice:
    """A batch and the places of its real, sampled and skipped tokens, as index tensors of each device that asks.

    places: int64 [sampled token], in the sample. counted: bool [example, position], neither padding nor skipped.
    """

    def __init__(self, batch: TokenBatch, sample: SampleTokens, skipped: Sequence[int]) -> None:
        self.rows, self.lengths = batch.rows, batch.lengths
        self.width = width = batch.input_ids.shape[1]
        low, high = (np.searchsorted(sample.example, batch.rows, side=side) for side in ("left", "right"))
        self.places = np.concatenate([np.arange(*ends) for ends in zip(low, high, strict=True)])
        example = np.repeat(np.arange(len(batch.rows)), high - low)
        self._sampled = example * width + sample.position[self.places]
        self._real: np.ndarray | None = None
        if batch.padded:
            self._real = np.flatnonzero(np.arange(width) < batch.lengths[:, None])
        blank = np.isin(batch.input_ids, skipped)
        self._blank = np.stack(np.nonzero(blank))
        self.counted = ~blank & (np.arange(width) < batch.lengths[:, None])
        self._on: dict[tuple[str, torch.device], torch.Tensor] = {}

    def real(self, tensor: torch.Tensor) -> torch.Tensor:
        """[example, position, n] as [token, n] without padding."""
        flat = tensor.flatten(0, 1)
        return flat if self._real is None else flat.index_select(0, self._index("real", self._real, flat.device))

    def blank(self, gate: torch.Tensor) -> None:
        """Set the gate of skipped tokens to 0, [example, position, neuron]: a token whose gate is 0 is in no case.

        So no reducer has to know of them, and positions stay those of the text.
        """
        if self._blank.size:
            example, position = self._index("blank", self._blank, gate.device)
            gate.index_put_((example, position), gate.new_zeros(()))

    def sampled(self, gate: torch.Tensor, in_: torch.Tensor) -> torch.Tensor | None:
        """float16 [2, sampled token, neuron]: gate and in; None if the batch has no sampled token."""
        if not len(self.places):
            return None
        index = self._index("sampled", self._sampled, gate.device)
        both = torch.stack([tensor.flatten(0, 1).index_select(0, index) for tensor in (gate, in_)])
        return both.clamp(-_HALF_MAX, _HALF_MAX).to(torch.float16)

    def real_tokens(self, tensor: torch.Tensor) -> torch.Tensor:
        """[token of the batch, n] without padding."""
        return self.real(tensor.unflatten(0, (len(self.rows), -1))).clone()

    def sampled_pairs(self, pairs: Pairs, routed: Routed) -> Iterator[tuple[str, np.ndarray, torch.Tensor]]:
        """For each expert that sampled tokens reach: its name, their places in the sample, and as `sampled`."""
        if not len(self.places):
            return
        place_of = np.full(len(self.rows) * self.width, -1, np.int64)
        place_of[self._sampled] = self.places
        among = np.flatnonzero(place_of[pairs.token] >= 0)
        expert, places = pairs.expert[among], place_of[pairs.token[among]]
        index = to_device(among if pairs.index is None else pairs.index[among], routed.gate.device)
        both = torch.stack([tensor.index_select(0, index) for tensor in (routed.gate, routed.in_)])
        both = both.clamp(-_HALF_MAX, _HALF_MAX).to(torch.float16)
        for number in np.unique(expert).tolist():
            low, high = np.searchsorted(expert, [number, number + 1])
            yield f"E{number}", places[low:high], both[:, low:high]

    def _index(self, name: str, places: np.ndarray, device: torch.device) -> torch.Tensor:
        if (name, device) not in self._on:
            self._on[name, device] = to_device(places, device)
        return self._on[name, device]


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy there that the device's work does not have to wait for."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _too_long(batch: TokenBatch, model: GatedModel) -> ModelError:
    where, found = f"row {batch.rows[0]} of the token data set", f"too little for its {batch.tokens} tokens"
    step = "ask for more memory, or set `max_length` lower"
    return ModelError(where, f"memory for a text on {model.device}", found, step)

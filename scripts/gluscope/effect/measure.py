"""The effect of one neuron at chosen tokens: passes with and without it, in batches. Imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from gluscope.core.cases import CASES, SignCase
from gluscope.core.errors import ModelError
from gluscope.core.neuron import NeuronId
from gluscope.effect.ablate import Ablation, Texts
from gluscope.effect.agree import agreement
from gluscope.effect.choose import Chosen
from gluscope.effect.types import ENDS, SCOPES, Effect
from gluscope.model.capture import GatedModel
from gluscope.scan.batches import PADDING, make_batches
from gluscope.scan.memory import free_memory, is_out_of_memory
from gluscope.weights.types import TOKENS, TokenEnds

if TYPE_CHECKING:
    from gluscope.dataset.reader import TokenDataset

_LOGITS = 1 << 25  # numbers in a batch's logits: 256 MiB in float64


class Measure:
    """Measures neurons of one layer, one after another.

    batch_tokens: most tokens in a pass. Results do not depend on it but for the last bits of forward passes.
    """

    def __init__(self, model: GatedModel, dataset: TokenDataset, layer: int, dtype: str, batch_tokens: int) -> None:
        self._model, self._dataset, self._dtype = model, dataset, dtype
        self._batch_tokens = batch_tokens
        self.ablation = Ablation(model, layer)
        self.skipped: tuple[int, ...] = ()  # ids of tokens that count for nothing, and so are in no case

    def __call__(self, neuron: NeuronId, chosen: Chosen, written: TokenEnds) -> Effect:
        """written: tokens that w_out writes, in the raw convention, as the weights stage has them.

        Raises ModelError for a text that does not fit into memory, and for logits that are not finite.
        """
        places = np.argwhere(chosen.row >= 0)
        found = _Found(chosen, self._model.spec.n_vocab)
        widths = np.array([self._width(chosen, place) for place in places], np.int64)
        padding, alone = PADDING[self._model.device.type], self._model.alone_beyond
        most = max(1, _LOGITS // self._model.spec.n_vocab)
        for batch in make_batches(widths, self._batch_tokens, padding, None, alone):
            for begin in range(0, len(batch), most):
                self._fit(neuron, found, places[batch[begin : begin + most]])
        self.ablation.forget()
        return found.effect(neuron, self._dtype, written)

    def _width(self, chosen: Chosen, place: np.ndarray) -> int:
        """Tokens that the prediction depends on: up to the position, but the whole text where positions are encoded by
        the text's length."""
        own, alone = int(chosen.position[tuple(place)]) + 1, self._model.alone_beyond
        whole = int(self._dataset.lengths[chosen.row[tuple(place)]])
        return own if alone is None or whole <= alone else whole

    def _fit(self, neuron: NeuronId, found: _Found, places: np.ndarray) -> None:
        """Measure examples together, in halves where they do not fit into memory."""
        try:
            self._run(neuron, found, places)
            return
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(places) == 1:
                row = found.chosen.row[tuple(places[0])]
                step = "ask for more memory, or set `max_length` lower"
                raise ModelError(
                    f"row {row} of the token data set", "memory for its text", "too little", step
                ) from error
        self.ablation.forget()
        free_memory()
        middle = (len(places) + 1) // 2
        for part in (places[:middle], places[middle:]):
            self._fit(neuron, found, part)

    def _run(self, neuron: NeuronId, found: _Found, places: np.ndarray) -> None:
        chosen = found.chosen
        texts = [self._dataset.input_ids(int(chosen.row[tuple(place)])) for place in places]
        widths = [self._width(chosen, place) for place in places]
        ids = np.zeros((len(places), max(widths)), np.int64)
        for i, (text, width) in enumerate(zip(texts, widths, strict=True)):
            ids[i, :width] = text[:width]
        at = np.array([chosen.position[tuple(place)] for place in places], np.int64)
        following = [int(text[p + 1]) if p + 1 < len(text) else -1 for text, p in zip(texts, at, strict=True)]
        batch = Texts(ids, np.array(widths), at)
        before, values = self.ablation.as_it_is(batch, neuron)
        with torch.inference_mode():
            logp = _log_probabilities(before, neuron)
            counts = torch.from_numpy(~np.isin(ids, self.skipped)).to(values.device)
            for scope, where in enumerate(_scopes(values, at, [CASES[case] for case, *_ in places], counts)):
                changed = logp - _log_probabilities(self.ablation.without(batch, neuron, where), neuron)
                found.put(scope, places, logp, changed, following)
            found.put_post(places, values[2, torch.arange(len(at)), torch.from_numpy(at).to(values.device)])


def _scopes(values: torch.Tensor, at: np.ndarray, cases: list[SignCase], counts: torch.Tensor) -> list[torch.Tensor]:
    """bool [example, position] of each scope: where post becomes zero. counts: bool, of tokens that are in a case."""
    width = values.shape[2]
    position = torch.arange(width, device=values.device)
    own = torch.from_numpy(at).to(values.device)[:, None]
    gate, in_ = (
        torch.tensor([getattr(case, name) for case in cases], device=values.device)[:, None]
        for name in ("gate_sign", "in_sign")
    )
    here = position == own
    inside = (torch.sign(values[0]) == gate) & (torch.sign(values[1]) == in_) & (position <= own) & counts
    return [here, inside | here]


def _log_probabilities(logits: torch.Tensor, neuron: NeuronId) -> torch.Tensor:
    """float64 [example, vocab]."""
    found = torch.log_softmax(logits.double(), dim=-1)
    if not bool(torch.isfinite(found).all()):
        raise ModelError(str(neuron), "finite logits", "NaN or infinity", "set `dtype` to float32 or bfloat16")
    return found


class _Found:
    """Numbers of a neuron as they come in."""

    def __init__(self, chosen: Chosen, n_vocab: int) -> None:
        self.chosen = chosen
        shape = chosen.row.shape
        self._next = np.full(shape, -1, np.int32)
        self._post, self._logprob = (np.full(shape, np.nan, np.float32) for _ in range(2))
        self._change, self._kl = (np.full((len(SCOPES), *shape), np.nan, np.float32) for _ in range(2))
        self._sum = np.zeros((len(SCOPES), *shape[:2], n_vocab))

    def put(
        self, scope: int, places: np.ndarray, logp: torch.Tensor, change: torch.Tensor, following: list[int]
    ) -> None:
        """logp: float64 [example, vocab], as it is. change: of the same, with minus without. following: tokens."""
        kl = (logp.exp() * change).sum(-1).cpu().numpy()
        change_, logp_ = change.cpu().numpy(), logp.cpu().numpy()
        for i, (place, token) in enumerate(zip(map(tuple, places.tolist()), following, strict=True)):
            # One by one, in an order that does not depend on batches, so that the sums do not either.
            self._sum[(scope, *place[:2])] += change_[i, : self._sum.shape[-1]]
            self._kl[(scope, *place)] = kl[i]
            self._next[place] = token
            if token >= 0:
                self._change[(scope, *place)], self._logprob[place] = change_[i, token], logp_[i, token]

    def put_post(self, places: np.ndarray, post: torch.Tensor) -> None:
        for place, value in zip(map(tuple, places.tolist()), post.float().cpu().tolist(), strict=True):
            self._post[place] = value

    def effect(self, neuron: NeuronId, dtype: str, written: TokenEnds) -> Effect:
        count = (self.chosen.row >= 0).sum(-1)
        mean = self._sum / np.maximum(1, count)[..., None]
        token, token_change = _most_moved(mean)
        signs, overlap = agreement(mean, token, count > 0, written)
        return Effect(
            layer=neuron.layer, neuron=neuron.neuron, expert=neuron.expert, dtype=dtype,
            row=self.chosen.row, position=self.chosen.position, next_token=self._next,
            post=self._post, logprob=self._logprob, change=self._change, kl=self._kl,
            token=token, token_change=token_change, signs=signs, overlap=overlap,
        )  # fmt: skip


def _most_moved(mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int32 and float32 [scope, case, group, end, place]: tokens raised most, and lowered most; -1, NaN beyond them."""
    shape = (*mean.shape[:-1], len(ENDS), TOKENS)
    token, change = np.full(shape, -1, np.int32), np.full(shape, np.nan, np.float32)
    for at in np.ndindex(mean.shape[:-1]):
        for end, sign in enumerate((1, -1)):
            ids = _highest(sign * mean[at], TOKENS)
            token[(*at, end)][: len(ids)], change[(*at, end)][: len(ids)] = ids, mean[at][ids]
    return token, change


def _highest(values: np.ndarray, most: int) -> np.ndarray:
    """Places of the highest values above 0, at most so many, highest first; ties: the lower place."""
    least = np.partition(values, -most)[-most] if most < len(values) else -np.inf
    places = np.flatnonzero((values >= least) & (values > 0))
    return places[np.lexsort((places, -values[places]))][:most]

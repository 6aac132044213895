"""The straightforward way to the same statistics, for comparison: cache a whole pass, stack, reduce text by text."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from typing import Any

import torch

from gluscope.core.cases import CASES, LISTS, QUANTITIES
from gluscope.model.capture import GatedModel
from gluscope.scan.batches import TokenBatch

_HOOKS = ("hook_pre", "hook_pre_linear", "hook_post")


class Straightforward:
    """TransformerLens' `run_with_cache`, one text at a time, and eager torch operations over [layer, token, neuron]."""

    def __init__(self, model: GatedModel, k: int) -> None:
        self._bridge = _bridge(model)
        self._names = [f"blocks.{layer}.mlp.{hook}" for hook in _HOOKS for layer in range(model.spec.n_layers)]
        spec, device = model.spec, model.device
        shape = (spec.n_layers, spec.d_mlp)
        self._layers, self._device = spec.n_layers, device
        self._count = torch.zeros(*shape, len(CASES), dtype=torch.int64, device=device)
        self._sum = torch.zeros(*shape, len(CASES), len(QUANTITIES), dtype=torch.float64, device=device)
        self._best = torch.full((len(LISTS), *shape, k), -1.0, device=device)
        self._row = torch.full((len(LISTS), *shape, k), -1, device=device)
        self._position = torch.full((len(LISTS), *shape, k), -1, device=device)

    @torch.inference_mode()
    def run(self, batches: Sequence[TokenBatch]) -> None:
        for batch in batches:
            for row, length, ids in zip(batch.rows.tolist(), batch.lengths.tolist(), batch.input_ids, strict=True):
                self._text(row, torch.from_numpy(ids[None, :length]).to(self._device))

    def _text(self, row: int, ids: torch.Tensor) -> None:
        _, cache = self._bridge.run_with_cache(ids, return_type=None, names_filter=lambda name: name in self._names)
        gate, in_, post = (
            torch.stack([cache[f"blocks.{layer}.mlp.{hook}"][0] for layer in range(self._layers)]) for hook in _HOOKS
        )
        values = dict(zip(QUANTITIES, (gate, in_, torch.nn.functional.silu(gate), post), strict=True))
        for case in CASES:
            mask = (gate * case.gate_sign > 0) & (in_ * case.in_sign > 0)
            self._count[..., case.index] += mask.sum(1)
            for quantity, value in values.items():
                self._sum[..., case.index, quantity.index] += torch.where(mask, value, 0.0).sum(1, dtype=torch.float64)
                if quantity in case.listed:
                    best, first = torch.where(mask, value.abs(), -1.0).max(1)
                    self._enter(LISTS.index((case, quantity)), row, best, first)

    def _enter(self, place: int, row: int, best: torch.Tensor, first: torch.Tensor) -> None:
        joined = torch.cat([self._best[place], best.float()[..., None]], -1)
        self._best[place], order = joined.topk(joined.shape[-1] - 1)
        rows = torch.cat([self._row[place], torch.full_like(first, row)[..., None]], -1)
        positions = torch.cat([self._position[place], first[..., None]], -1)
        self._row[place], self._position[place] = rows.gather(-1, order), positions.gather(-1, order)


def _bridge(model: GatedModel) -> Any:
    """TransformerLens' model around a copy of the weights. It wants a folder with a config and a tokenizer."""
    import transformers
    from tokenizers import Tokenizer, models
    from transformer_lens.model_bridge import TransformerBridge

    words = Tokenizer(models.WordLevel({"<s>": 0, "a": 1}, unk_token="<s>"))
    names = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), "<s>")
    hf_model: Any = model.hf_model
    with tempfile.TemporaryDirectory() as folder:
        hf_model.config.save_pretrained(folder)
        transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(folder)
        return TransformerBridge.boot_transformers(
            folder,
            hf_model=copy.deepcopy(hf_model),
            tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
            device=str(model.device),
            dtype=model.dtype,
        )

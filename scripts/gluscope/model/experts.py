"""Routed experts as transformers' experts interface runs them: as fast as its fastest, and open to a listener.

All classes that go through the interface share one layout (`transformers.integrations.moe`); what differs among routers
stands outside: here come the experts that each token is sent to, and the weights that multiply what they give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS, _default_apply_gate, _grouped_linear

from gluscope.model.mixture import CLAMPED, PLAIN

NAME = "gluscope"  # of this implementation, in transformers' interface
_LISTENER, _EDITOR = "_gluscope_listener", "_gluscope_editor"
_ALPHA = 1.702


@dataclass(frozen=True)
class Routed:
    """What routed experts compute. A pair is a token and an expert that it is sent to; pairs are sorted by expert, then
    token. Tokens are those of a batch, padding included, one text after another.

    chosen: int64 [token, slot], experts; weight: [token, slot], what multiplies their output. token: int64 [pair].
    pairs: int64 [expert], pairs of each. gate, in_, act, post: [pair, neuron].
    """

    chosen: torch.Tensor
    weight: torch.Tensor
    token: torch.Tensor
    pairs: torch.Tensor
    gate: torch.Tensor
    in_: torch.Tensor
    act: torch.Tensor
    post: torch.Tensor

    def pairs_of(self, expert: int) -> slice:
        """The pairs of one expert."""
        first, count = int(self.pairs[:expert].sum()), int(self.pairs[expert])
        return slice(first, first + count)

    def weight_of(self, expert: int) -> torch.Tensor:
        """float32 [token], what multiplies its output; NaN where a token does not reach it."""
        here = self.chosen == expert
        return torch.where(here, self.weight, 0).sum(1).float().masked_fill(~here.any(1), torch.nan)


def run_experts(
    experts: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """What `experts` add, [token, d_model], as transformers' own implementations compute it.

    On a CPU a product an expert, on a GPU one for all.
    """
    slots, flat = top_k_index.shape[-1], top_k_index.reshape(-1)
    order = torch.argsort(flat, stable=True)
    pairs = torch.bincount(flat, minlength=experts.num_experts)
    token = order // slots
    linear = _by_expert if hidden_states.device.type == "cpu" else _grouped
    bias = experts.gate_up_proj_bias if experts.has_bias else None
    both = linear(hidden_states[token], experts.gate_up_proj, bias, pairs, experts.is_transposed)
    gate, in_, act, post = gated(experts, both)
    listener: Callable[[Routed], None] | None = experts.__dict__.get(_LISTENER)
    editor: Callable[[Routed], torch.Tensor] | None = experts.__dict__.get(_EDITOR)
    if listener is not None or editor is not None:
        routed = Routed(top_k_index, top_k_weights, token, pairs, gate, in_, act, post)
        if listener is not None:
            listener(routed)
        if editor is not None:
            post = editor(routed)
    out = linear(post, experts.down_proj, experts.down_proj_bias if experts.has_bias else None, pairs,
                 experts.is_transposed)  # fmt: skip
    weighted = out * top_k_weights.reshape(-1)[order].unsqueeze(-1)
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    return weighted[back].view(len(hidden_states), slots, -1).sum(1).to(hidden_states.dtype)


ALL_EXPERTS_FUNCTIONS.register(NAME, run_experts)


def listen(experts: Any, listener: Callable[[Routed], None] | None) -> None:
    """Hand `listener` what `experts` compute from now on; None: no more."""
    experts.__dict__[_LISTENER] = listener


def edit(experts: Any, editor: Callable[[Routed], torch.Tensor] | None) -> None:
    """From now on `experts` multiply w_out with what `editor` makes of what they compute, in place of post, [pair,
    neuron]; None: with post."""
    experts.__dict__[_EDITOR] = editor


def is_experts(module: nn.Module) -> bool:
    """Whether transformers runs this module through its experts interface."""
    return all(hasattr(module, name) for name in ("_apply_gate", "has_gate", "is_transposed", "num_experts"))


def gated(experts: Any, both: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """gate, in, act and post, [pair, neuron], from what the projection gives."""
    if not is_clamped(experts):
        gate, in_ = both.chunk(2, dim=-1)
        act = experts.act_fn(gate)
        return gate, in_, act, act * in_
    gate = both[..., ::2].clamp(max=experts.limit)
    in_ = both[..., 1::2].clamp(min=-experts.limit, max=experts.limit) + 1
    act = gate * torch.sigmoid(gate * experts.alpha)
    return gate, in_, act, in_ * act


def is_clamped(experts: Any) -> bool:
    """Whether experts gate as those of gpt-oss do."""
    return not experts.is_concatenated


def gating_of(experts: Any) -> str | None:
    """How experts gate: PLAIN, CLAMPED, or None for another way than these two."""
    if not experts.has_gate or experts.has_post_expert_norm:
        return None
    if type(experts)._apply_gate is _default_apply_gate:
        return PLAIN if experts.is_concatenated else None
    if experts.is_concatenated or getattr(experts, "alpha", None) != _ALPHA or not hasattr(experts, "limit"):
        return None
    both = 8 * torch.randn((64, 16), generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu")
    return CLAMPED if torch.allclose(experts._apply_gate(both), gated(experts, both)[3], rtol=1e-9) else None


def _by_expert(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pairs: torch.Tensor, transposed: bool
) -> torch.Tensor:
    """[pair, n]: each expert's pairs times its weight, [expert, n, m], or [expert, m, n] if transposed."""
    out = x.new_empty(len(x), weight.shape[2 if transposed else 1])
    begin = 0
    for expert, count in enumerate(pairs.tolist()):
        if not count:
            continue
        own = weight[expert] if transposed else weight[expert].T
        torch.mm(x[begin : begin + count], own, out=out[begin : begin + count])
        if bias is not None:
            out[begin : begin + count] += bias[expert]
        begin += count
    return out


def _grouped(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, pairs: torch.Tensor, transposed: bool
) -> torch.Tensor:
    """The same as one product; the host waits for nothing."""
    offsets = torch.cumsum(pairs, 0, dtype=torch.int32)
    own = None
    if bias is not None:
        expert = torch.repeat_interleave(torch.arange(len(pairs), device=x.device), pairs, output_size=len(x))
        own = bias[expert]
    return _grouped_linear(x, weight, offsets, bias=own, is_transposed=transposed)

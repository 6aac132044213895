"""Run a model and hand out what its gated MLPs compute, layer by layer, while it computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gluscope.core.errors import ModelError
from gluscope.model.attention import without_plans
from gluscope.model.rope import alone_beyond, forget
from gluscope.model.spec import ModelSpec

if TYPE_CHECKING:
    import numpy as np

OnLayer = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]


class GatedModel:
    """A loaded model: `load` makes it.

    alone_beyond: texts of more tokens share a pass with texts of equal length alone; None: any may.

    >>> with model.capture(range(model.spec.n_layers), on_layer):
    ...     model.forward(input_ids)
    """

    def __init__(self, hf_model: nn.Module, spec: ModelSpec) -> None:
        self.spec = spec
        self.hf_model = hf_model
        names = spec.modules
        self.blocks: nn.Module = hf_model.get_submodule(names["layers"])
        self._base = hf_model.get_submodule(names["layers"].rpartition(".")[0])
        self._mlps = [block.get_submodule(names["mlp"]) for block in self.blocks.children()]
        self._outs = [self.linear(layer, "out") for layer in range(spec.n_layers)]
        self._forget = forget(hf_model)
        self.alone_beyond = alone_beyond(hf_model)

    @property
    def attention(self) -> str:
        """The implementation of attention that runs, as transformers names it: "sdpa", "eager", ..."""
        return str(getattr(self.hf_model.config, "_attn_implementation", None))

    @property
    def device(self) -> torch.device:
        """Where input ids go."""
        return next(self._base.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the MLPs' weights, and so of what `on_layer` gets."""
        return self._outs[0].weight.dtype

    @torch.inference_mode()
    def forward(
        self,
        input_ids: np.ndarray | torch.Tensor,
        lengths: np.ndarray | torch.Tensor | None = None,
        stop_at_layer: int | None = None,
    ) -> None:
        """Run the blocks over a batch; what comes of it goes to the `on_layer` of `capture`. No logits are computed.

        input_ids: int64 [example, position], from the first position on. lengths: int64 [example], real tokens of
        each; they only check that padding is on the right, where no real token of a causal model sees it: that is
        its mask, so values at real tokens are those of each example alone. stop_at_layer: the last layer whose MLP
        is wanted; the rest is not run. What ran before leaves no trace.
        """
        ids = torch.as_tensor(input_ids)
        self._check_lengths(lengths, ids.shape[1])
        self._forget()
        stop = None if stop_at_layer is None else self._outs[stop_at_layer].register_forward_pre_hook(_stop)
        try:
            with without_plans():
                self._base(input_ids=ids.to(self.device), use_cache=False)
        except _Stopped:
            pass
        finally:
            if stop is not None:
                stop.remove()

    def _check_lengths(self, lengths: np.ndarray | torch.Tensor | None, width: int) -> None:
        if lengths is None:
            return
        own = torch.as_tensor(lengths)
        if int(own.max()) > width:
            raise ValueError(f"lengths up to {int(own.max())} in a batch of width {width}")
        if self.alone_beyond is not None and width > self.alone_beyond and int(own.min()) < width:
            raise ValueError(f"lengths from {int(own.min())} in a batch of width {width}, over {self.alone_beyond}")

    @contextmanager
    def capture(self, layers: Iterable[int], on_layer: OnLayer) -> Iterator[None]:
        """Call `on_layer(layer, x, gate, in_, act, post)` once for every layer of `layers` in each forward pass.

        x: [example, position, d_model], the exact input of the MLP's projections; the others [example, position,
        d_mlp]; all as the model computes them, of its dtype, on the layer's device, padding included. They are the
        model's own tensors (gate and in_ of a fused projection are strided halves): do not write into them, and
        keep none longer than the call, so that memory does not grow with layers.
        """
        handles = [handle for layer in sorted(set(layers)) for handle in self._hook(layer, on_layer)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def linear(self, layer: int, part: str) -> nn.Linear:
        """The map `part` ("gate", "in" or "out") of a layer's MLP; gate and in may be one."""
        found = self._mlps[layer].get_submodule(self.spec.modules[part])
        if not isinstance(found, nn.Linear):
            raise ModelError(
                f"{self.spec.model}: layer {layer}", f"a linear map {part}", type(found).__name__, "report it"
            )
        return found

    def _hook(self, layer: int, on_layer: OnLayer) -> list[Any]:
        seen: dict[str, torch.Tensor] = {}
        gate, in_, out = (self.linear(layer, part) for part in ("gate", "in", "out"))
        fused, act_name = self.spec.fused, self.spec.modules.get("act")

        def keep_gate(_: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            seen["x"] = args[0]
            if fused:
                seen["gate"], seen["in"] = output.chunk(2, dim=-1)
            else:
                seen["gate"] = output

        def keep_in(_: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            seen["in"] = output

        def keep_act(_: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            seen["act"] = output

        def hand_out(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            if act_name is None:
                seen["act"] = self._act(seen["gate"])
            x, gate_, in_2, act = (seen.pop(name) for name in ("x", "gate", "in", "act"))
            on_layer(layer, x, gate_, in_2, act, args[0])

        handles = [gate.register_forward_hook(keep_gate), out.register_forward_pre_hook(hand_out)]
        if not fused:
            handles.append(in_.register_forward_hook(keep_in))
        if act_name is not None:
            handles.append(self._mlps[layer].get_submodule(act_name).register_forward_hook(keep_act))
        return handles

    def _act(self, gate: torch.Tensor) -> torch.Tensor:
        """For models that call the function without a module of its own."""
        from transformers.activations import ACT2FN

        found: torch.Tensor = ACT2FN[self.spec.act_fn](gate)
        return found


class _Stopped(Exception):
    """Leaves a forward pass from inside."""


def _stop(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
    raise _Stopped

"""Run a model and hand out what its gated MLPs compute, layer by layer, while it computes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gluscope.core.errors import ModelError
from gluscope.core.neuron import SHARED, is_routed, shared_number
from gluscope.model.attention import without_plans
from gluscope.model.experts import Routed, listen
from gluscope.model.rope import alone_beyond, forget
from gluscope.model.spec import ModelSpec

if TYPE_CHECKING:
    import numpy as np

OnMixture = Callable[[int, torch.Tensor, "Mixed"], None]
OnLayer = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]


@dataclass(frozen=True)
class SharedExpert:
    """What a shared expert computes: [example, position, neuron]. weight: [example, position], what multiplies its
    output; None where nothing does."""

    gate: torch.Tensor
    in_: torch.Tensor
    act: torch.Tensor
    post: torch.Tensor
    weight: torch.Tensor | None


@dataclass(frozen=True)
class Mixed:
    """What a mixture of experts computes for a batch."""

    routed: Routed
    shared: tuple[SharedExpert, ...]

    def neuron(self, expert: str, number: int) -> torch.Tensor:
        """gate, in, act and post of one neuron, [4, token]; 0 at tokens that do not reach its expert."""
        if not is_routed(expert):
            own = self.shared[shared_number(expert)]
            return torch.stack([part[..., number].flatten() for part in (own.gate, own.in_, own.act, own.post)])
        routed, pairs = self.routed, self.routed.pairs_of(int(expert[1:]))
        found = routed.gate.new_zeros(4, len(routed.chosen))
        parts = routed.gate, routed.in_, routed.act, routed.post
        found[:, routed.token[pairs]] = torch.stack([part[pairs, number] for part in parts])
        return found


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
        mixture = spec.mixture.module if spec.mixture else ""
        self._mlps = [
            block.get_submodule(mixture if spec.is_mixture(layer) else names["mlp"])
            for layer, block in enumerate(self.blocks.children())
        ]
        self._shape = torch.Size((0, 0))
        self._last: int | None = None
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
        if self.spec.is_mixture(0):
            found: torch.dtype = self.experts(0).gate_up_proj.dtype
            return found
        return self.linear(0, "out").weight.dtype

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
        self._shape, self._last = ids.shape, stop_at_layer
        stop = None if stop_at_layer is None else self._stop_at(stop_at_layer)
        try:
            with without_plans():
                self._base(input_ids=ids.to(self.device), use_cache=False)
        except _Stopped:
            pass
        finally:
            self._last = None
            if stop is not None:
                stop.remove()

    @torch.inference_mode()
    def logits(self, input_ids: np.ndarray, lengths: np.ndarray, at: np.ndarray) -> torch.Tensor:
        """Run the whole model; its logits [example, vocab] at one position of each text, as its class scales and caps
        them. at: int64 [example], the positions; the other arguments as in `forward`."""
        ids = torch.as_tensor(input_ids)
        self._check_lengths(lengths, ids.shape[1])
        self._forget()
        self._shape = ids.shape
        own = torch.as_tensor(at)

        def only_these(_: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            hidden = args[0]
            return (hidden[torch.arange(len(own), device=hidden.device), own.to(hidden.device)].unsqueeze(1),)

        head: Any = self.hf_model.get_output_embeddings()  # type: ignore[operator]
        handle = head.register_forward_pre_hook(only_these)
        try:
            with without_plans():
                found: torch.Tensor = self.hf_model(input_ids=ids.to(self.device), use_cache=False).logits
        finally:
            handle.remove()
        return found[:, 0]

    def _check_lengths(self, lengths: np.ndarray | torch.Tensor | None, width: int) -> None:
        if lengths is None:
            return
        own = torch.as_tensor(lengths)
        if int(own.max()) > width:
            raise ValueError(f"lengths up to {int(own.max())} in a batch of width {width}")
        if self.alone_beyond is not None and width > self.alone_beyond and int(own.min()) < width:
            raise ValueError(f"lengths from {int(own.min())} in a batch of width {width}, over {self.alone_beyond}")

    @contextmanager
    def capture(
        self, layers: Iterable[int], on_layer: OnLayer, on_mixture: OnMixture = lambda layer, x, mixed: None
    ) -> Iterator[None]:
        """Call `on_layer(layer, x, gate, in_, act, post)` once for every layer of `layers` in each forward pass.

        x: [example, position, d_model], the exact input of the MLP's projections; the others [example, position,
        d_mlp]; all as the model computes them, of its dtype, on the layer's device, padding included. They are the
        model's own tensors (gate and in_ of a fused projection are strided halves): do not write into them, but for
        gate, which the model has done with; and keep none longer than the call, so that memory does not grow with
        layers. For a mixture of experts it is `on_mixture(layer, x, mixed)`.
        """
        handles = []
        for layer in sorted(set(layers)):
            is_mixture = self.spec.is_mixture(layer)
            handles += self._hook_mixture(layer, on_mixture) if is_mixture else self._hook(layer, on_layer)
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

    def mlp(self, layer: int) -> nn.Module:
        """A layer's MLP, or mixture of experts."""
        return self._mlps[layer]

    def out_map(self, layer: int, expert: str) -> nn.Module:
        """What multiplies w_out with post in an MLP of no router, named as in NeuronId."""
        if not expert:
            return self.linear(layer, "out")
        assert self.spec.mixture is not None
        own: nn.Module = self._shared(layer)[shared_number(expert)]
        return own.get_submodule(self.spec.mixture.modules["out"])

    def experts(self, layer: int) -> Any:
        """The module of a mixture's routed experts."""
        assert self.spec.mixture is not None
        return self._mlps[layer].get_submodule(self.spec.mixture.modules["experts"])

    def vectors(self, layer: int, expert: str, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """w_gate, w_in and w_out of a neuron of a mixture, [d_model] each."""
        mixture = self.spec.mixture
        assert mixture is not None
        if expert.startswith(SHARED):
            own = self._shared(layer)[shared_number(expert)]
            gate, in_, out = (own.get_submodule(mixture.modules[part]).weight for part in ("gate", "in", "out"))
            return gate[number], in_[number], out[:, number]
        routed, at = self.experts(layer), int(expert[1:])
        both, out = routed.gate_up_proj[at], routed.down_proj[at]
        if routed.is_transposed:
            both, out = both.T, out.T
        if routed.is_concatenated:
            return both[number], both[mixture.each + number], out[:, number]
        return both[2 * number], both[2 * number + 1], out[:, number]

    def _shared(self, layer: int) -> list[Any]:
        assert self.spec.mixture is not None
        names = self.spec.mixture.modules.get("shared", "").split()
        return [self._mlps[layer].get_submodule(name) for name in names]

    def _stop_at(self, layer: int) -> Any:
        if self.spec.is_mixture(layer):
            return self._mlps[layer].register_forward_hook(lambda *_: _stop(self._mlps[layer], ()))
        return self.linear(layer, "out").register_forward_pre_hook(_stop)

    def _hook_mixture(self, layer: int, on_mixture: OnMixture) -> list[Any]:
        mixture = self.spec.mixture
        assert mixture is not None
        seen: dict[str, Any] = {}
        experts, mlp = self.experts(layer), self._mlps[layer]

        def hand_out(_: nn.Module, args: tuple[torch.Tensor, ...], output: Any) -> None:
            shared = tuple(self._of_shared(seen, number) for number in range(len(mixture.shared)))
            x = args[0].reshape(*self._shape, -1)
            on_mixture(layer, x, Mixed(seen.pop("routed"), shared))
            seen.clear()

        def keep(name: str, argument: bool = False) -> Any:
            def hook(_: nn.Module, args: tuple[torch.Tensor, ...], output: Any = None) -> None:
                seen[name] = args[0] if argument else output

            return hook

        def take(routed: Routed) -> None:
            seen["routed"] = routed
            if layer == self._last and not mixture.shared:  # the rest of this layer is not run
                hand_out(mlp, (seen["x"],), None)
                raise _Stopped

        listen(experts, take)
        handles: list[Any] = [_Silence(experts), mlp.register_forward_hook(hand_out)]
        handles.append(mlp.register_forward_pre_hook(keep("x", argument=True)))
        for number, own in enumerate(self._shared(layer)):
            for part in ("gate", "in", "act"):
                module = own.get_submodule(mixture.modules[part])
                handles.append(module.register_forward_hook(keep(f"{part} {number}")))
            out = own.get_submodule(mixture.modules["out"])
            handles.append(out.register_forward_pre_hook(keep(f"post {number}", argument=True)))
        if weight := mixture.modules.get("shared_weight"):
            handles.append(mlp.get_submodule(weight).register_forward_hook(keep("shared_weight")))
        return handles

    def _of_shared(self, seen: dict[str, Any], number: int) -> SharedExpert:
        gate, in_, act, post = (
            seen[f"{part} {number}"].reshape(*self._shape, -1) for part in ("gate", "in", "act", "post")
        )
        weight = seen.get("shared_weight")
        weight = None if weight is None else torch.sigmoid(weight).reshape(self._shape)
        return SharedExpert(gate, in_, act, post, weight)

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
            x, gate_values, in_values, act = (seen.pop(name) for name in ("x", "gate", "in", "act"))
            on_layer(layer, x, gate_values, in_values, act, args[0])

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


class _Silence:
    """A handle, like those of hooks, that ends what experts hand out."""

    def __init__(self, experts: nn.Module) -> None:
        self._experts = experts

    def remove(self) -> None:
        listen(self._experts, None)


class _Stopped(Exception):
    """Leaves a forward pass from inside."""


def _stop(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
    raise _Stopped

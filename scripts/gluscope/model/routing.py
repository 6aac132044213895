"""Which experts a model's routers choose: noted in one pass, held in others. Imports torch.

Routers differ from class to class, but all choose by torch's topk, some of groups of experts first. Held to the places
that it had, a topk gives the values that stand there now: so tokens go where they went, and the weights that multiply
what experts give follow from the router's numbers as ever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from gluscope.core.errors import ModelError
from gluscope.model.capture import GatedModel

_TOPK = (torch.topk, torch.Tensor.topk)
_Call = Callable[..., Any]


class Routers:
    """The routers of a model; without experts there are none, and nothing is done."""

    def __init__(self, model: GatedModel) -> None:
        self._model = model
        self._layers = model.spec.mixture.layers if model.spec.mixture else ()
        self._places: dict[int, list[torch.Tensor]] = {}  # of each topk in a layer, in their order
        self._experts: dict[int, torch.Tensor] = {}
        self._now: int | None = None  # the mixture that is running
        self._calls = 0

    @contextmanager
    def noted(self) -> Iterator[None]:
        """The choices of the pass in this block are kept, in place of earlier ones."""
        self._places, self._experts = defaultdict(list), {}

        def note(topk: _Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            found = topk(*args, **kwargs)
            self._places[self._now or 0].append(found[1])
            return found

        with self._watched(note, self._experts.__setitem__):
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """Passes over the same batch choose as the noted one did. Raises ModelError for a router that chooses otherwise
        than by topk."""

        def hold(topk: _Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            places = self._places[self._now or 0][self._calls]
            self._calls += 1
            dim = args[2] if len(args) > 2 else kwargs.get("dim", -1)
            return torch.return_types.topk((args[0].gather(dim, places), places))

        with self._watched(hold, self._check):
            yield

    def forget(self) -> None:
        """Let go of what was noted."""
        self._places, self._experts = {}, {}

    def _check(self, layer: int, experts: torch.Tensor) -> None:
        if not torch.equal(experts, self._experts[layer]):
            found = f"{self._model.spec.architecture}, which chooses them otherwise"
            raise ModelError(f"layer {layer}", "a router that chooses experts by topk", found, "leave `effect` out")

    @contextmanager
    def _watched(self, topk: _Call, chosen: Callable[[int, torch.Tensor], object]) -> Iterator[None]:
        """`topk` in place of torch's in each mixture; `chosen` is told the experts of each layer that runs."""
        if not self._layers:
            yield
            return
        self._now, handles = None, []
        for layer in self._layers:

            def enter(*_: Any, layer: int = layer) -> None:
                self._now, self._calls = layer, 0

            def leave(*_: Any) -> None:
                self._now = None

            def tell(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], layer: int = layer) -> None:
                chosen(layer, args[1] if len(args) > 1 else kwargs["top_k_index"])

            mlp = self._model.mlp(layer)
            handles += [mlp.register_forward_pre_hook(enter), mlp.register_forward_hook(leave)]
            handles.append(self._model.experts(layer).register_forward_pre_hook(tell, with_kwargs=True))
        try:
            with _Instead(lambda *call: topk(*call) if self._now is not None else call[0](*call[1], **call[2])):
                yield
        finally:
            for handle in handles:
                handle.remove()


class _Instead(TorchFunctionMode):
    """Calls of topk go to another function, with topk itself, its arguments and keywords."""

    def __init__(self, instead: _Call) -> None:
        super().__init__()
        self._instead = instead

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _TOPK:
            return self._instead(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))

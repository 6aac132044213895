"""What the norm before an MLP does, found out by trying it. Imports torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gluscope.core.errors import ModelError
from gluscope.model.keys import StoredKeys
from gluscope.model.spec import Norm

_WIDE = 1e4  # of the values tried: eps, which every norm adds somewhere, then plays no part


def norms_of(
    layers: Any, names: Sequence[str | None], path: str, keys: StoredKeys, d_model: int, where: str
) -> tuple[Norm, ...]:
    """The norm before each layer's MLP.

    names: of each block's child; None where there is no norm. path: of a block from the whole model, with `{layer}`.
    `load` checks with the real weights that x is what it leaves.
    """
    found: list[Norm] = []
    tried: dict[tuple[type, str], tuple[str, float | None]] = {}
    for layer, (block, name) in enumerate(zip(layers, names, strict=True)):
        if name is None:
            found.append(Norm())
            continue
        norm = block.get_submodule(name)
        if (type(norm), name) not in tried:
            tried[type(norm), name] = behaviour(norm, d_model, where)
        kind, offset = tried[type(norm), name]
        gain = None if offset is None else keys.of(f"{path.format(layer=layer)}.{name}.weight", where)
        found.append(Norm(kind, gain, offset or 0.0, name))
    return tuple(found)


def behaviour(norm: nn.Module, d_model: int, where: str) -> tuple[str, float | None]:
    """Kind of a norm ("rms" or "layer") and what is added to its weight to make its gain; None if it has no gain.

    The module may be empty: a copy of it is given random weights and tried. Raises ModelError for anything other than
    centring (layer), division by the root mean square, and a factor w or 1 + w for each dimension.
    """
    made = copy.deepcopy(norm).to_empty(device="cpu").to(torch.float64)
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.rand(part.shape, generator=generator, dtype=torch.float64) for name, part in _own(made)}
    weight, bias = weights.get("weight"), weights.get("bias", torch.zeros(()))
    x = _WIDE * (1 + torch.randn((5, d_model), generator=generator, dtype=torch.float64))
    with torch.inference_mode():
        for name, part in _own(made):
            part.copy_(weights[name])
        found = made(x) - bias
    for kind in ("rms", "layer"):
        for offset in (0.0, 1.0) if weight is not None else (None,):
            gain = 1.0 if weight is None or offset is None else weight + offset
            if _near(found, unit(x, kind) * gain):
                return kind, offset
    named = ", ".join(sorted(weights)) or "no weights"
    raise ModelError(where, "an RMS norm or a layer norm before the MLP", f"{type(norm).__name__} ({named})", _OTHER)


def unit(x: torch.Tensor, kind: str) -> torch.Tensor:
    """x as the norm leaves it without gain, eps apart: [..., d_model] of mean square 1, centred first for "layer"."""
    centred = x - x.mean(-1, keepdim=True) if kind == "layer" else x
    return centred / centred.square().mean(-1, keepdim=True).sqrt()


_OTHER = "use another model"


def _own(norm: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*norm.named_parameters(), *((name, part) for name, part in norm.named_buffers() if part.ndim)]


def _near(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Norms work in float32 inside."""
    return found.shape == expected.shape and bool((found - expected).abs().max() < 1e-4 * expected.abs().max())

"""Position encodings that change with the length of what goes through the model.

"dynamic" rope grows with the longest pass so far, and keeps what it has grown to: without `forget`, a text's values
would depend on the texts before it. "dynamic" and "longrope" both go by the width of the whole batch, so that beyond
the length that they know a text shares a pass with texts of its own length alone (`alone_beyond`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn


def forget(model: nn.Module) -> Callable[[], None]:
    """What puts a model's position encodings back to how they are now: call it before each pass."""
    kept = [(module, _state(module)) for module in model.modules() if "dynamic" in _kinds(module)]
    return partial(_put_back, kept)


def alone_beyond(model: nn.Module) -> int | None:
    """Tokens up to which a text's values do not depend on the width of its batch; None: they never do."""
    known = [_known(module) for module in model.modules() if {"dynamic", "longrope"} & set(_kinds(module))]
    return min(known, default=None)


def _kinds(module: nn.Module) -> tuple[str, ...]:
    """A rotary module has one kind, or one for each kind of layer."""
    found: Any = getattr(module, "rope_type", None)
    return tuple(found.values()) if isinstance(found, dict) else (found,) if isinstance(found, str) else ()


def _known(module: nn.Module) -> int:
    """The shortest length at which the module changes over."""
    config: Any = getattr(module, "config", None)
    parameters: Any = getattr(config, "rope_parameters", None) or {}
    parts = [parameters, *(part for part in parameters.values() if isinstance(part, dict))]
    named = [part["original_max_position_embeddings"] for part in parts if "original_max_position_embeddings" in part]
    return int(min([int(getattr(module, "original_max_seq_len", 0)), *named]))


def _state(module: nn.Module) -> dict[str, Any]:
    """Frequencies, and how long a text they were last made for. Passes replace these; they do not write into them."""
    names = [name for name in vars(module) if name.endswith(("max_seq_len_cached", "attention_scaling"))]
    return {name: getattr(module, name) for name in [*names, *dict(module.named_buffers(recurse=False))]}


def _put_back(kept: list[tuple[nn.Module, dict[str, Any]]]) -> None:
    for module, state in kept:
        for name in [name for name in vars(module) if name.endswith("max_seq_len_cached") and name not in state]:
            delattr(module, name)
        for name, value in state.items():
            setattr(module, name, value)

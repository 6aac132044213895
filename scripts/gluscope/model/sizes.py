"""How large a model is, by its config.json alone: for what a run will take, before anything of it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gluscope.core.cost import ModelSize
from gluscope.model.files import cached_snapshot, peek
from gluscope.model.mixture_sizes import chosen_of

_DTYPES = {"float32", "bfloat16", "float16"}


def size_of(model: str, revision: str | None = None) -> ModelSize | None:
    """The size of a model in a folder or in the hub's cache; None where it is not there, or does not say.

    Key-value heads and the heads' size are those of attention that all classes share; where a config lacks them,
    attention is taken to be four square matrices.
    """
    known = peek(model, revision)
    folder = Path(model) if Path(model).is_dir() else cached_snapshot(model, revision)
    if known is None or folder is None:
        return None
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text: dict[str, Any] = config.get("text_config") or config
    d_model, heads = text.get("hidden_size"), text.get("num_attention_heads")
    if type(d_model) is not int or d_model < 1:
        return None
    if type(heads) is not int or heads < 1:
        heads = 1
    kv_heads = text.get("num_key_value_heads") or heads
    each = text.get("head_dim") or d_model // heads
    attention = 2 * d_model * each * (heads + kv_heads)
    dtype = str(text.get("dtype") or text.get("torch_dtype") or config.get("dtype") or config.get("torch_dtype") or "")
    return ModelSize.of(known, d_model, attention, dtype if dtype in _DTYPES else "", chosen_of(text) or 0)

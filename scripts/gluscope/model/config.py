"""A model's config.json, as transformers reads it, without what depends on the machine that wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gluscope.core.errors import ModelError, one_line

_QUANTISED = ("quantization_config", "compression_config")


def read_config(folder: Path, raw: dict[str, Any], where: str) -> Any:
    """The transformers config of `folder`; `raw` is its config.json. Code that came with the model is never run.

    An attention that config.json asks for (a package that the writer's machine had) is left out: the class's default is
    taken, which every machine has. Raises ModelError for quantised weights and configs that transformers does not know.
    """
    for key, value in _nested(raw):
        if key in _QUANTISED and value:
            method = value.get("quant_method", "quantised") if isinstance(value, dict) else "quantised"
            raise ModelError(where, "plain float weights", f"{method} ones", "use the model before quantisation")
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        config.output_attentions = False  # asks for another attention as well
        config._attn_implementation = None
    except Exception as error:  # whatever a config class makes of an unknown or broken config
        from gluscope.model.adapter import WORKS

        classes = ", ".join(raw.get("architectures") or [f"model_type {raw.get('model_type')}"])
        known = "auto_map" in raw or f"`{raw.get('model_type')}`" in str(error)
        reason = "a class that needs code of its own, which is never run" if known else one_line(error)[:200]
        found = f"{classes}, {reason}"
        raise ModelError(where, "a dense language model with gated MLPs", found, WORKS) from error
    return config


def _nested(raw: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys and values of the config and of the configs in it (text_config, ...)."""
    for key, value in raw.items():
        yield key, value
        if isinstance(value, dict):
            yield from _nested(value)

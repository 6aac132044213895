"""What the keys of chat data demand of each other and of the template's variables."""

from __future__ import annotations

from typing import Any

from gluscope.config.keys import DatasetConfig
from gluscope.core.errors import ConfigError

# Of transformers' `apply_chat_template`: what a template reads besides its variables, and what is not for users.
_GIVEN = frozenset({"conversation", "messages", "chat_template", "tokenize", "sanitize_control_tokens", "padding"})
_GIVEN |= {"truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"}
_GIVEN |= {"tokenizer_kwargs"}


def chat_mistakes(data: DatasetConfig) -> list[ConfigError]:
    """All of one data set."""
    where, variables = f"config: datasets: {data.name}", data.template_kwargs
    errors = []
    if data.messages_column is not None and data.tokenizer is None:
        step = "add `tokenizer`, the chat model's own"
        errors.append(ConfigError(where, "a `tokenizer` beside `messages_column`", "none", step))
    if variables is not None and data.messages_column is None:
        expected, step = "`messages_column` beside `template_kwargs`", "add it, or leave `template_kwargs` out"
        errors.append(ConfigError(where, expected, "none", step))
    for name, value in (variables or {}).items():
        here = f"{where}: template_kwargs: {name}"
        if not isinstance(name, str) or not name.isidentifier():
            errors.append(ConfigError(here, "the name of a variable", repr(name), "correct it"))
        elif name in _GIVEN:
            errors.append(
                ConfigError(here, "a variable of the chat template", "one that is not yours to set", "leave it out")
            )
        elif (bad := _no_json(value)) is not None:
            step = "write it in quotes, so that it is a text"
            errors.append(ConfigError(here, "texts, numbers, truth values, lists and mappings", repr(bad), step))
    return errors


def _no_json(value: Any) -> Any:
    """The first part of a value that JSON has no form for, such as a date; else None."""
    if isinstance(value, dict):
        keys = (key for key in value if not isinstance(key, str))
        return next((part for part in (*keys, *map(_no_json, value.values())) if part is not None), None)
    if isinstance(value, list):
        return next((part for part in map(_no_json, value) if part is not None), None)
    return None if value is None or isinstance(value, str | int | float) else value

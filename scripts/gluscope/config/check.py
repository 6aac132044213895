"""What pydantic finds wrong with a config, as users are told it: one line for each mistake."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from pydantic import ValidationError

from gluscope.config.keys import ConfigFile, DatasetConfig, ExplainConfig, RunConfig, Section
from gluscope.core.errors import ConfigError

_EXPECTED = {"bool_type": "true or false", "list_type": "a list"}
_KINDS = {bool: "a truth value", int: "a number", float: "a number", date: "a date", datetime: "a time"}


def check(raw: Any) -> ConfigFile | list[ConfigError]:
    """The typed config that YAML gave as `raw`, or everything that is wrong with its keys and values."""
    try:
        return ConfigFile.model_validate(raw, by_alias=True, by_name=False)
    except ValidationError as found:
        mistakes: list[Any] = found.errors(include_url=False)
    # Of an entry without an allowed name, only the name is told.
    unnamed = {mistake["loc"][:-1] for mistake in mistakes if mistake["type"] == "name"}
    return [_told(**one) for one in mistakes if one["type"] == "name" or one["loc"][:2] not in unnamed]


def nearest(name: object, known: Iterable[str]) -> str:
    """What to do about an unknown name: the most similar one that is known, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    if close:
        return f"write {close[0]!r}, the nearest known one"
    return f"choose one of {', '.join(names)}" if names else "add an entry of that name"


def _told(
    type: str, loc: tuple[str | int, ...], msg: str, input: Any, ctx: Mapping[str, Any] | None = None
) -> ConfigError:
    """One of pydantic's mistakes in our words."""
    match type:
        case "name":
            return _bad_name(_where(loc[:-2]), msg, input)
        case "extra_forbidden" | "invalid_key":
            key = input if type == "invalid_key" else loc[-1]
            return ConfigError(_where(loc[:-1]), "a known key", repr(key), nearest(key, _section(loc).known()))
        case "missing":
            step = f"add it: {_section(loc).meanings()[str(loc[-1])]}".rstrip(".")
            return ConfigError(_where(loc[:-1]), f"the key {loc[-1]!r}", "none", step)
        case "literal_error":
            msg = "one of " + str((ctx or {})["expected"]).replace("'", "").replace(" or ", ", ")
        case "text" | "value":
            pass
        case _:
            msg = _EXPECTED.get(type, "keys with values")
    meant_as_text = type == "text" and isinstance(input, int | float | date)
    return ConfigError(
        _where(loc), msg, _shown(input), _quote(input) if meant_as_text else "correct it in your config file"
    )


def _section(loc: tuple[str | int, ...]) -> type[Section]:
    """The class whose key the last part of a place in the config is."""
    entries: dict[str | int, type[Section]] = {"datasets": DatasetConfig, "runs": RunConfig}
    if len(loc) > 3 and loc[0] == "runs" and loc[2] == "explain":
        return ExplainConfig
    return entries[loc[0]] if len(loc) > 1 else ConfigFile


def _where(loc: tuple[str | int, ...]) -> str:
    return "config" + "".join(f"[{part}]" if isinstance(part, int) else f": {part}" for part in loc)


def _shown(raw: Any) -> str:
    try:
        found = "nothing" if raw is None else repr(raw)
    except RecursionError:
        found = "lists or keys nested too deeply to show"
    return found if len(found) <= 80 else found[:77] + "..."


def _bad_name(where: str, expected: str, key: object) -> ConfigError:
    if isinstance(key, int | float | date):
        return ConfigError(where, expected, f"{_plainly(key)}, which YAML takes for {_KINDS[type(key)]}", _quote(key))
    return ConfigError(where, expected, repr(key), "choose another name")


def _quote(raw: object) -> str:
    return f'write it in quotes, so that it is a text: "{_plainly(raw)}", or as you wrote it'


def _plainly(raw: object) -> str:
    return str(raw).lower() if isinstance(raw, bool) else str(raw)

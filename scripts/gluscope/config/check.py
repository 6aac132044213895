"""Check a raw config against its JSON schema, with one line for each mistake.

The part of JSON Schema that `schema()` uses is checked here, because a user is better served by "expected a whole
number of at least 1, found 'ten'" than by a validator's output. A test holds that jsonschema agrees.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from gluscope.core.errors import ConfigError

_KINDS = {bool: "a truth value", int: "a number", float: "a number", date: "a date", datetime: "a time"}
_TYPES = {"object": Mapping, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}


def check(raw: Any, schema: dict[str, Any], where: str = "config") -> list[ConfigError]:
    """Everything in which `raw` differs from `schema`; empty if nothing."""
    if "enum" in schema:
        plain = isinstance(raw, str | None)
        return [] if plain and raw in schema["enum"] else [_wrong(where, schema, raw)]
    allowed = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(raw, name) for name in allowed):
        return [_wrong(where, schema, raw)]
    if isinstance(raw, Mapping):
        return _check_object(raw, schema, where)
    if isinstance(raw, list):
        return [error for i, item in enumerate(raw) for error in check(item, schema["items"], f"{where}[{i}]")]
    return [] if _within(raw, schema) else [_wrong(where, schema, raw)]


def nearest(name: object, known: Iterable[str]) -> str:
    """What to do about an unknown name: the most similar one that is known, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    if close:
        return f"write {close[0]!r}, the nearest known one"
    return f"choose one of {', '.join(names)}" if names else "add an entry of that name"


def _check_object(raw: Mapping, schema: dict[str, Any], where: str) -> list[ConfigError]:
    if schema.get("additionalProperties", True):
        return []
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    errors = []
    for key, value in raw.items():
        entry = known.get(key) or _named_entry(key, patterns)
        if entry is not None:
            errors += check(value, entry, f"{where}: {key}")
        elif patterns:
            errors.append(_bad_name(where, key))
        else:
            errors.append(ConfigError(where, "a known key", repr(key), nearest(key, known)))
    for key in schema.get("required", []):
        if key not in raw:
            step = f"add it: {known[key]['description']}".rstrip(".")
            errors.append(ConfigError(where, f"the key {key!r}", "none", step))
    return errors


def _named_entry(key: object, patterns: dict[str, dict]) -> dict[str, Any] | None:
    """Schema of an entry whose name the user chose; None if it is no allowed name."""
    allowed = (entry for name, entry in patterns.items() if isinstance(key, str) and re.fullmatch(name, key))
    return next(allowed, None)


def _is(raw: Any, name: str) -> bool:
    return isinstance(raw, _TYPES[name]) and not (name == "integer" and isinstance(raw, bool))


def _within(raw: Any, schema: dict[str, Any]) -> bool:
    if isinstance(raw, str):
        return "pattern" not in schema or re.fullmatch(schema["pattern"], raw) is not None
    if isinstance(raw, int):
        return bool(schema.get("minimum", raw) <= raw <= schema.get("maximum", raw))
    return True


def _wrong(where: str, schema: dict[str, Any], raw: Any) -> ConfigError:
    words = schema.get("words", "keys with values")
    try:
        found = "nothing" if raw is None else repr(raw)
    except RecursionError:
        found = "lists or keys nested too deeply to show"
    found = found if len(found) <= 80 else found[:77] + "..."
    meant_as_text = "string" in schema.get("type", ()) and isinstance(raw, int | float | date)
    return ConfigError(where, words, found, _quote(raw) if meant_as_text else "correct it in your config file")


def _bad_name(where: str, key: object) -> ConfigError:
    expected = "a name of letters, digits, '.', '_' and '-' that begins with a letter or digit"
    if where.endswith("runs"):
        expected += ", and is not datasets or sources"
    if isinstance(key, int | float | date):
        return ConfigError(where, expected, f"{_plainly(key)}, which YAML takes for {_KINDS[type(key)]}", _quote(key))
    return ConfigError(where, expected, repr(key), "choose another name")


def _quote(raw: object) -> str:
    return f'write it in quotes, so that it is a text: "{_plainly(raw)}", or as you wrote it'


def _plainly(raw: object) -> str:
    return str(raw).lower() if isinstance(raw, bool) else str(raw)

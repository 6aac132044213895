"""The JSON schema (2020-12) of the config, made from the classes in keys.py."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import types
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from gluscope.config import keys
from gluscope.config.keys import NAME, ConfigFile, DatasetConfig, Limits, RunConfig
from gluscope.core.paths import RESERVED_RUN_NAMES

PATTERNS = {DatasetConfig: f"^{NAME}$", RunConfig: f"^(?!({'|'.join(sorted(RESERVED_RUN_NAMES))})$){NAME}$"}
_NAMES = {str: "string", int: "integer", bool: "boolean"}


@functools.cache
def schema() -> dict[str, Any]:
    """Schema of the whole config. Every object is closed: a key that is not in it is a mistake."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "GLUScope", **_object(ConfigFile)}


def is_required(field: Field) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def key_fields(cls: type) -> list[Field]:
    """The fields of `cls` that are keys of the config."""
    return [field for field in fields(cls) if field.metadata.get("key", True)]


@functools.cache
def field_docs(cls: type) -> dict[str, str]:
    """The text below each field of `cls`."""
    tree = ast.parse(inspect.getsource(keys))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)
    docs = {}
    for declared, below in itertools.pairwise(body):
        match declared, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=text)):
                docs[name] = " ".join(str(text).split())
    return docs


def _object(cls: type) -> dict[str, Any]:
    hints, docs = get_type_hints(cls, include_extras=True), field_docs(cls)
    properties: dict[str, Any] = {}
    for field in key_fields(cls):
        properties[field.name] = {"description": docs[field.name], **_value(hints[field.name])}
        if field.default is not MISSING:
            properties[field.name]["default"] = field.default
    return {
        "description": inspect.cleandoc(cls.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": [field.name for field in key_fields(cls) if is_required(field)],
        "additionalProperties": False,
    }


def _value(hint: Any) -> dict[str, Any]:
    """Schema of one type. `words` is ours: what the user is told to write."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return {**_value(arguments[0]), **_limits(arguments[1])}
    if origin in (Union, types.UnionType):
        present = [argument for argument in arguments if argument is not type(None)]
        return _or_nothing(_value(present[0]))
    if origin is Literal:
        return {"enum": list(arguments), "words": f"one of {', '.join(arguments)}"}
    if origin is list:
        return {"type": "array", "items": _value(arguments[0]), "words": "a list"}
    if origin is dict and arguments[1] is Any:
        return {"type": "object", "words": "names with values"}
    if origin is dict:
        named = {PATTERNS[arguments[1]]: _object(arguments[1])}
        return {"type": "object", "patternProperties": named, "additionalProperties": False}
    if is_dataclass(hint):
        return _object(hint)  # type: ignore[arg-type]
    words = {"string": "a text", "boolean": "true or false", "integer": "a whole number"}
    return {"type": _NAMES[hint], "words": words[_NAMES[hint]]}


def _limits(limits: Limits) -> dict[str, Any]:
    found = {"minimum": limits.minimum, "maximum": limits.maximum, "words": limits.words}
    if limits.pattern is not None:
        found["pattern"] = f"^(?:{limits.pattern})$"
    return {key: value for key, value in found.items() if value is not None}


def _or_nothing(value: dict[str, Any]) -> dict[str, Any]:
    if "enum" in value:
        return {**value, "enum": [*value["enum"], None]}
    return {**value, "type": [value["type"], "null"]}

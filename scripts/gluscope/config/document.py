"""The config's keys for people and editors: Markdown tables, and the JSON schema as a file."""

from __future__ import annotations

import json
import re
from dataclasses import Field
from typing import Any

from gluscope.config.keys import ConfigFile, DatasetConfig, RunConfig
from gluscope.config.schema import field_docs, is_required, key_fields, schema

_CLASSES = {cls.__name__: cls for cls in (ConfigFile, DatasetConfig, RunConfig)}
_BLOCK = re.compile(r"(<!-- keys of (\w+) -->\n).*?(<!-- end -->)", re.S)


def schema_text() -> str:
    """The JSON schema as its file holds it."""
    return json.dumps(schema(), indent=1) + "\n"


def with_tables(markdown: str) -> str:
    """`markdown` with fresh tables between `<!-- keys of CLASS -->` and `<!-- end -->`."""
    return _BLOCK.sub(lambda found: found[1] + table(_CLASSES[found[2]]) + found[3], markdown)


def table(cls: type) -> str:
    """The keys of one class as a Markdown table."""
    docs = field_docs(cls)
    rows = [f"| `{field.name}` | {_default(field)} | {docs[field.name]} |" for field in key_fields(cls)]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _default(field: Field) -> str:
    if is_required(field):
        return "**required**"
    value: Any = field.default if not callable(field.default_factory) else field.default_factory()
    return "none" if value is None or value in ({}, []) else f"`{json.dumps(value).strip(chr(34))}`"

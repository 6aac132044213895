"""`make config`: the config's keys for people and editors, tables in config/README.md and config/config.schema.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic.fields import FieldInfo

from gluscope.config.keys import ConfigFile, DatasetConfig, ExplainConfig, RunConfig, Section

FOLDER = Path(__file__).parents[3] / "config"
SECTIONS: dict[str, type[Section]] = {
    cls.__name__: cls for cls in (ConfigFile, DatasetConfig, RunConfig, ExplainConfig)
}
_BLOCK = re.compile(r"(<!-- keys of (\w+) -->\n).*?(<!-- end -->)", re.S)


def schema_text() -> str:
    """The JSON schema (2020-12) as its file holds it: pydantic's, with the keys' meanings and without titles."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ConfigFile.model_json_schema()}
    for part in (schema, *schema["$defs"].values()):
        meanings = SECTIONS[part["title"]].meanings()
        part["properties"] = {
            key: {"description": meanings[key]} | {word: rule for word, rule in value.items() if word != "title"}
            for key, value in part["properties"].items()
        }
    return json.dumps(schema, indent=1) + "\n"


def with_tables(markdown: str) -> str:
    """`markdown` with fresh tables between `<!-- keys of CLASS -->` and `<!-- end -->`."""
    return _BLOCK.sub(lambda found: found[1] + table(SECTIONS[found[2]]) + found[3], markdown)


def table(section: type[Section]) -> str:
    """The keys of a section as a Markdown table."""
    meanings = section.meanings()
    rows = [f"| `{key}` | {_default(field)} | {meanings[key]} |" for key, field in section.known().items()]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    return "none" if field.default in (None, {}, []) else f"`{json.dumps(field.default).strip(chr(34))}`"


def main() -> None:
    (FOLDER / "config.schema.json").write_text(schema_text(), encoding="utf-8")
    readme = FOLDER / "README.md"
    readme.write_text(with_tables(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

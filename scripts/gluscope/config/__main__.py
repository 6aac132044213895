"""`python -m gluscope.config`, in scripts/: write config/config.schema.json and the tables of config/README.md anew."""

from __future__ import annotations

from pathlib import Path

from gluscope.config.document import schema_text, with_tables

FOLDER = Path(__file__).parents[3] / "config"


def main() -> None:
    (FOLDER / "config.schema.json").write_text(schema_text(), encoding="utf-8")
    readme = FOLDER / "README.md"
    readme.write_text(with_tables(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

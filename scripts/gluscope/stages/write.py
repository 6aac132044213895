"""The next version of a stage, written into the table's own source."""

from __future__ import annotations

import ast
from pathlib import Path

TABLE = Path("scripts/gluscope/stages/table.py")


def raised(folder: Path, stage: str, why: str) -> int:
    """Raise the version of `stage` in the table of a checkout; returns the new one.

    why: what the version changes. Both are the first arguments of the stage's entry.
    """
    path = folder / TABLE
    source = path.read_bytes()
    number, reason = _places(ast.parse(source), stage)
    lines = source.splitlines(keepends=True)
    version = int(str(number.value)) + 1
    for constant, text in ((reason, _quoted(why)), (number, str(version))):  # from the back
        assert constant.end_lineno is not None
        start = sum(map(len, lines[: constant.lineno - 1])) + constant.col_offset
        end = sum(map(len, lines[: constant.end_lineno - 1])) + (constant.end_col_offset or 0)
        source = source[:start] + text.encode() + source[end:]
    path.write_bytes(source)
    return version


def _places(tree: ast.Module, stage: str) -> tuple[ast.Constant, ast.Constant]:
    """Where the version and the reason of a stage stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == stage and isinstance(value, ast.Call):
                    number, reason, *_ = value.args
                    assert isinstance(number, ast.Constant)
                    assert isinstance(reason, ast.Constant)
                    return number, reason
    raise ValueError(f"{TABLE}: no entry for {stage!r}")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

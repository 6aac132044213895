"""The functions that docs/life-of-a-token.md leads through are there, and each fits a screen."""

from __future__ import annotations

import ast
import re

from helpers.checkout import REPO

SCREEN = 60  # lines
PAGE = REPO / "docs/life-of-a-token.md"


def test_every_step_is_a_function_that_fits_a_screen() -> None:
    steps = re.findall(r"^\| (\d+) \|.*\[`(\w+)`\]\(([^)]+)\) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert [int(number) for number, *_ in steps] == list(range(1, 11))
    for _, name, path in steps:
        tree = ast.parse((PAGE.parent / path).resolve().read_text(encoding="utf-8"))
        lengths = [
            (node.end_lineno or 0) - node.lineno + 1
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name == name
        ]
        assert lengths, f"{path} has no {name}"
        assert max(lengths) <= SCREEN, f"{name} has {max(lengths)} lines"

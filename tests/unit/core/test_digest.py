"""The digest of a stage's code changes with what the stage does, and with nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from gluscope.core import digest as under_test
from gluscope.core.digest import code_behind, code_of, imports_of, joined, modules

FILES = {
    "scripts/scan.py": "from gluscope.workflow.job import start\nfrom gluscope.scan.loop import run\n",
    "scripts/gluscope/__init__.py": "",
    "scripts/gluscope/workflow/job.py": "import sys\n",
    "scripts/gluscope/scan/__init__.py": '"""Scan."""\n',
    "scripts/gluscope/scan/loop.py": "from . import reduce\ndef f():\n from gluscope.store import summary\n",
    "scripts/gluscope/scan/reduce.py": "from ..core.cases import Q\nX = 1\n",
    "scripts/gluscope/core/__init__.py": "",
    "scripts/gluscope/core/cases.py": "Q = 1\n",
    "scripts/gluscope/store/__init__.py": "",
    "scripts/gluscope/store/summary.py": "import gluscope.core.cases\n",
    "scripts/gluscope/page/__init__.py": "",
    "scripts/gluscope/page/render.py": "from gluscope.core import cases\n",
    "scripts/gluscope/page/templates/page.html": "<p>",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def of(tree: Path, *data: str) -> str:
    for cached in (code_behind, modules, imports_of, code_of, under_test._tree):
        cached.cache_clear()
    return joined(code_behind(tree / "scripts/scan.py", tree / "scripts", tuple(tree / part for part in data)))


def rewritten(tree: Path, name: str, text: str) -> str:
    (tree / name).write_text(text)
    return of(tree, "scripts/gluscope/page/templates")


def test_modules_are_found_in_turn_inside_functions_and_through_packages(tree: Path) -> None:
    of(tree)
    found = modules(tree / "scripts/scan.py", tree / "scripts")
    assert set(found) == {
        "gluscope", "gluscope.scan", "gluscope.scan.loop", "gluscope.scan.reduce", "gluscope.core",
        "gluscope.core.cases", "gluscope.store", "gluscope.store.summary",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scripts/scan.py", FILES["scripts/scan.py"] + "x = 1\n"),
        ("scripts/gluscope/scan/reduce.py", "from ..core.cases import Q\nX = 2\n"),
        ("scripts/gluscope/core/cases.py", "Q = '1'\n"),
        ("scripts/gluscope/store/__init__.py", "import os\n"),
        ("scripts/gluscope/page/templates/page.html", "<b>"),
        ("scripts/gluscope/page/templates/new.html", ""),
    ],
)
def test_what_the_stage_uses_changes_it(tree: Path, name: str, text: str) -> None:
    before = of(tree, "scripts/gluscope/page/templates")
    assert rewritten(tree, name, text) != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scripts/gluscope/page/render.py", "something = 'else'\n"),
        ("scripts/gluscope/workflow/job.py", "import sys, os\n"),
        (
            "scripts/gluscope/scan/reduce.py",
            '"""New words."""\n# why\nfrom ..core.cases import Q\n\n\nX = (1)\n"""Of X."""\n',
        ),
        ("scripts/gluscope/export.py", "x = 1\n"),
    ],
)
def test_what_it_does_not_use_and_words_about_it_do_not(tree: Path, name: str, text: str) -> None:
    before = of(tree, "scripts/gluscope/page/templates")
    assert rewritten(tree, name, text) == before


def test_every_part_of_the_syntax_counts(tmp_path: Path) -> None:
    sources = [
        "x = 1", "x = 1.0", "x = '1'", "x = b'1'", "y = 1", "x += 1", "x: int = 1", "del x", "f(x)", "f(*x)", "f(x=x)",
        "def f(x): ...", "def f(x, /): ...", "def f(x=1): ...", "async def f(x): ...", "@d\ndef f(x): ...", "x = []",
        "x = -1", "x = [1, 2]", "x = [[1], 2]", "if x: y()", "if x: y()\nelse: z()", "if x:\n y()\n z()", "f'{x}'",
        "f'{x!r}'", "f'{x:>3}'", "lambda x: x", "x = y = 1", "(x, y) < z", "x < y < z", "x[1:2]", "x[1]", "raise x",
    ]  # fmt: skip
    codes = []
    for number, source in enumerate(sources):
        ast.parse(source)
        path = tmp_path / f"{number}.py"
        path.write_text(source)
        codes.append(code_of(path))
    assert len(set(codes)) == len(sources)


def test_a_missing_data_folder_is_not_passed_over(tree: Path) -> None:
    with pytest.raises(FileNotFoundError):
        of(tree, "scripts/gluscope/page/nothing")

"""Digests of the code that a stage uses: of its script, and of the library's modules that this imports in turn.

The import graph is followed through the syntax trees of the library's modules, imports inside functions included;
nothing is imported for it. Comments, docstrings, layout and type hints' spelling in strings do not count, nor do the
modules of `NO_RESULTS`. Digests are for the decisions of `gluscope.stages.lock`; rules ask for versions.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PACKAGE = "gluscope"
# They decide how a job starts, reports and fails, and when it runs, not what it computes.
NO_RESULTS = frozenset({"gluscope.core.errors", "gluscope.scan.progress"})
_NO_RESULTS_ROOMS = ("gluscope.stages", "gluscope.workflow")
# What a scan computes with on a GPU alone is a part of its own.
ON_GPU = "gluscope.scan.triton_"


@functools.cache
def code_behind(script: Path, library: Path, data: tuple[Path, ...] = ()) -> dict[str, str]:
    """Digests of a script, of all library modules it imports in turn, and of all files in the `data` folders, by path.

    library: the folder that holds the package; paths are relative to it. Raises FileNotFoundError for a `data` folder
    that is missing.
    """
    found = {str(path.relative_to(library)): code_of(path) for path in (script, *modules(script, library).values())}
    for folder in data:
        found |= {str(path.relative_to(library)): _file(path) for path in _files(folder)}
    return found


@functools.cache
def code_on_gpu(library: Path) -> dict[str, str]:
    """The same for what is used on a GPU alone."""
    base = library.joinpath(*ON_GPU.split("."))
    return {str(path.relative_to(library)): code_of(path) for path in sorted(base.parent.glob(f"{base.name}*.py"))}


def joined(files: Mapping[str, str]) -> str:
    """One digest of many files."""
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]


@functools.cache
def modules(script: Path, library: Path) -> dict[str, Path]:
    """Library modules that `script` imports directly or in turn, by dotted name, without those that do not count."""
    found: dict[str, Path] = {}
    todo = [(script, "")]
    while todo:
        path, package = todo.pop()
        for name in imports_of(path, package):
            for module in _with_parents(name):
                file = _find(module, library)
                if file is None or module in found or not _counts(module):
                    continue
                found[module] = file
                todo.append((file, module if file.name == "__init__.py" else module.rpartition(".")[0]))
    return found


def _counts(module: str) -> bool:
    room = ".".join(module.split(".")[:2])
    return module not in NO_RESULTS and room not in _NO_RESULTS_ROOMS and not module.startswith(ON_GPU)


@functools.cache
def imports_of(path: Path, package: str = "") -> frozenset[str]:
    """Dotted names that a file may import; of `from a import b` both `a` and `a.b`.

    `package`: the package that the file is in, for relative imports.
    """
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return frozenset(names)


@functools.cache
def code_of(path: Path) -> str:
    """Digest of what a Python file does; the same for every Python release that parses it alike."""
    tree = _tree(path)
    return hashlib.sha256("".join(_canonical(tree)).encode()).hexdigest()


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _canonical(node: object) -> Iterator[str]:
    """A syntax tree as text, without docstrings, places in the file, and what is empty."""
    if isinstance(node, list):
        yield "["
        for item in node:
            yield from _canonical(item)
        yield "]"
    elif isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                value = [item for item in value if not _is_text(item)]
            if value is None or value == [] or isinstance(value, ast.expr_context):
                continue
            yield f" {name}="
            yield from _canonical(value)
        yield ")"
    else:
        yield repr(node)


def _is_text(node: object) -> bool:
    """A statement that is nothing but a string: a docstring, or a field's documentation."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _with_parents(name: str) -> Iterable[str]:
    """`a.b.c` -> `a`, `a.b`, `a.b.c`: importing a module runs its packages' `__init__` as well."""
    parts = name.split(".")
    return (".".join(parts[: i + 1]) for i in range(len(parts))) if parts[0] == PACKAGE else ()


def _find(module: str, library: Path) -> Path | None:
    base = library.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

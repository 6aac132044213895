"""Text that every CPython 3.11 or later has on disk: its help topics, docstrings and comments.

Sources are read with `ast`; no module of the standard library is imported for it. The order is fixed: help topics by
name, then modules by path, in each the docstrings and comments by line. The same installation gives the same
documents; another Python release gives slightly other ones.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from gluscope.core.errors import DatasetError
from gluscope.store.listing import list_file

SHORTEST, LONGEST = 60, 1600  # characters of a document; 1600 are about 450 tokens of the demo's tokenizer
# Tests, tables, other people's packages, and modules that later releases no longer have.
LEFT_OUT = frozenset({
    "test", "tests", "idlelib", "lib2to3", "distutils", "encodings", "site-packages", "dist-packages", "ensurepip",
    "turtledemo", "pydoc_data", "lib-dynload", "__pycache__", "__phello__", "_pyrepl", "msilib",
})  # fmt: skip
_RULER = re.compile(r"[\W_]*")
_UNREADABLE = re.compile(r"[^\n\t\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Document:
    """One text of the demo.

    text: what a model reads, `SHORTEST` to `LONGEST` characters, no trailing blanks.
    source: where it stands, for people: "topic: assignment (2)", "docstring: json.decoder.JSONDecoder",
        "comment: heapq, line 37".
    """

    text: str
    source: str


def iter_documents(stdlib: Path | None = None) -> Iterator[Document]:
    """All documents of the standard library in `stdlib` (default: the running Python's), without duplicates.

    Two texts are duplicates when they differ in white space or capitals only; the first stays.
    Raises DatasetError if `stdlib` has no source files (a Python that ships bytecode only).
    """
    root = stdlib or Path(sysconfig.get_path("stdlib"))
    modules = _modules(root)
    if not modules:
        raise DatasetError(
            str(root), "Python's standard library as .py files", "none", "use a Python that has its sources installed"
        )
    seen: set[bytes] = set()
    for document in _candidates(root, modules):
        key = hashlib.sha256(" ".join(document.text.lower().split()).encode()).digest()
        if key not in seen:
            seen.add(key)
            yield document


def write_documents(path: str | os.PathLike[str]) -> int:
    """Write all documents as jsonl rows {"text", "source"}, UTF-8, and return how many.

    The file appears under its name only when it is complete.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    count = 0
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            for document in iter_documents():
                file.write(json.dumps(asdict(document), ensure_ascii=False) + "\n")
                count += 1
        list_file(target, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return count


def _modules(root: Path) -> list[Path]:
    """Source files below `root` by path, without the folders that are left out."""
    found: list[Path] = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name not in LEFT_OUT)
        found.extend(Path(folder, name) for name in files if name.endswith(".py") and not name.startswith("_sysconfig"))
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _candidates(root: Path, modules: list[Path]) -> Iterator[Document]:
    """Documents in order, duplicates included."""
    topics = root / "pydoc_data" / "topics.py"
    if topics.exists():
        for name, text in sorted(_topics(topics).items()):
            yield from _documents(text, f"topic: {name}")
    for path in modules:
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        parsed = _parse(path)
        if parsed is None:
            continue
        source, tree = parsed
        pieces = [*_docstrings(tree, module), *_comments(source, tree, module)]
        for _, text, where in sorted(pieces):
            yield from _documents(text, where)


def _topics(path: Path) -> dict[str, str]:
    """The dictionary literal of `pydoc_data.topics`: what `help("assignment")` shows."""
    parsed = _parse(path)
    for node in parsed[1].body if parsed else []:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            return dict(ast.literal_eval(node.value))
    return {}


def _parse(path: Path) -> tuple[str, ast.Module] | None:
    """Source and syntax tree; None for files that are no UTF-8 or no Python of this release (templates)."""
    try:
        source = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old sources
            return source, ast.parse(source)
    except (UnicodeDecodeError, SyntaxError, ValueError):
        return None


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[int, str, str]]:
    """(line, text, source) of the docstrings of `node` and all below it."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        text = ast.get_docstring(node)
        if text:
            yield node.body[0].lineno, text, f"docstring: {name}"
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings(child, f"{name}.{child.name}")
        elif isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _docstrings(child, name)


def _comments(source: str, tree: ast.Module, module: str) -> Iterator[tuple[int, str, str]]:
    """(line, text, source) of runs of whole-line comments, without `#`, rulers, and code that is commented out."""
    in_string: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno and node.end_lineno > node.lineno:
            in_string.update(range(node.lineno + 1, node.end_lineno + 1))
    block: list[str] = []
    for number, line in enumerate([*source.split("\n"), ""], start=1):
        content = line.strip()
        if content.startswith("#") and number not in in_string and not content.startswith("#!"):
            block.append(content.lstrip("#").rstrip())
        elif block:
            text = _comment_text(block)
            if text and not _is_code(text):
                yield number - len(block), text, f"comment: {module}, line {number - len(block)}"
            block = []


def _comment_text(lines: list[str]) -> str:
    """A comment without its common indent and without lines of punctuation at its ends."""
    while lines and _RULER.fullmatch(lines[0]):
        lines = lines[1:]
    while lines and _RULER.fullmatch(lines[-1]):
        lines = lines[:-1]
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[indent:] for line in lines)


def _is_code(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _documents(text: str, source: str) -> Iterator[Document]:
    """`text` as one document, or as several of at most LONGEST characters, cut between paragraphs or lines."""
    text = "\n".join(line.rstrip() for line in text.expandtabs(8).split("\n")).strip("\n")
    if _UNREADABLE.search(text):
        return
    pieces = list(_pieces(text))
    for number, piece in enumerate(pieces, start=1):
        if len(piece) >= SHORTEST:
            yield Document(piece, f"{source} ({number})" if len(pieces) > 1 else source)


def _pieces(text: str) -> Iterator[str]:
    """Cut at the last empty line that leaves at most LONGEST characters, else at a line's end, else anywhere."""
    while len(text) > LONGEST:
        head = text[: LONGEST + 1]
        cut = head.rfind("\n\n", SHORTEST)
        cut = cut if cut > 0 else head.rfind("\n", SHORTEST)
        cut = cut if cut > 0 else LONGEST
        yield text[:cut].rstrip()
        text = text[cut:].lstrip("\n")
    yield text

"""Local text files to one Arrow file with random access: jsonl, parquet, txt."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gluscope.core.errors import DatasetError
from gluscope.dataset.raw import read_text

_KINDS = {".jsonl": "jsonl", ".json": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".txt": "txt"}


@dataclass
class Written:
    """What happened while files were read. surrogates: how many were replaced. mixed: columns kept as JSON text."""

    surrogates: int = 0
    mixed: set[str] = field(default_factory=set)


def kind_of(path: Path) -> str | None:
    """`jsonl`, `parquet` or `txt` by the file's name (a further .gz is allowed, not for parquet); None for others."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        kind = _KINDS.get(suffixes[-2]) if len(suffixes) > 1 else None
        return None if kind == "parquet" else kind
    return _KINDS.get(suffixes[-1]) if suffixes else None


def inside(source: Path) -> list[Path]:
    """The file itself, or all files of the folder, sorted by path; names that begin with a dot are left out."""
    if source.is_file():
        return [source]
    files = (path for path in source.rglob("*") if path.is_file())
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(source).parts))


def find_files(source: Path) -> tuple[str, list[Path]]:
    """The kind and the files of a source, sorted by path; files of no known kind are left out.

    Raises DatasetError where there is none, or kinds are mixed.
    """
    known = {path: kind for path in inside(source) if (kind := kind_of(path))}
    kinds = sorted(set(known.values()))
    if not kinds:
        raise DatasetError(str(source), "files named .jsonl, .parquet or .txt", "none", "check the path and the names")
    if len(kinds) > 1:
        raise DatasetError(str(source), "files of one kind", " and ".join(kinds), "give each kind a folder of its own")
    return kinds[0], list(known)


def digest(source: Path, names: frozenset[str] | None = None) -> str:
    """`sha256:...` over names and bytes of a file, or of a folder's files (only those of `names`, if given)."""
    whole = hashlib.sha256()
    for path in inside(source):
        if names is not None and path.name not in names:
            continue
        with open(path, "rb") as file:
            one = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(source).as_posix()}\0{one}\n".encode("utf-8", "surrogateescape"))
    return f"sha256:{whole.hexdigest()}"


def write_arrow(source: Path, out: Path) -> Written:
    """Write all rows of the source's files, in the order of their names, into one Arrow stream at `out`.

    Columns are those of any file, in the order met; a row without one has null there.
    Raises DatasetError that names file and place of what cannot be read.
    """
    from gluscope.dataset.jsonl import write_jsonl
    from gluscope.dataset.parquet import write_parquet

    kind, files = find_files(source)
    return {"jsonl": write_jsonl, "txt": _write_txt, "parquet": write_parquet}[kind](files, out)


def _write_txt(files: list[Path], out: Path) -> Written:
    """A row for each file: `text`, and `file`, its path within the folder."""
    import pyarrow as pa

    schema = pa.schema({"text": pa.string(), "file": pa.string()})
    root = next(parent for parent in files[0].parents if files[-1].is_relative_to(parent))
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_stream(sink, with_features(schema)) as writer:
        for path in files:
            name = path.relative_to(root).as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            writer.write_table(pa.table([[read_text(path)], [name]], schema=schema))
    return Written()


def with_features(schema: Any, metadata: dict[bytes, bytes] | None = None) -> Any:
    """The Arrow schema with the column types of `datasets` in its metadata; those of `metadata` where it has some."""
    from datasets import Features

    named = metadata if metadata and b"huggingface" in metadata else None
    return Features.from_arrow_schema(schema.with_metadata(named)).arrow_schema

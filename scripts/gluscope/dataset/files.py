"""The files of a local source: which are read, which are not and why."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gluscope.core.errors import DatasetError
from gluscope.dataset.raw import PACKED

KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".txt": "txt",
}
_NOWHERE = "a link that leads nowhere"


@dataclass
class Found:
    """The files of a source. kind: as of `kind_of`. skipped: why a file is not read, by its name within `root`."""

    root: Path
    kind: str
    files: list[Path]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The files' names within the source."""
        return [name_in(self.root, path) for path in self.files]


def kind_of(path: Path) -> str | None:
    """`jsonl`, `csv`, `tsv`, `parquet` or `txt` by the file's name, packed (`.gz`) or not; None for others."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] and suffixes[-1] in PACKED
    kind = KINDS.get(suffixes[-2 if packed else -1]) if len(suffixes) > bool(packed) else None
    return None if packed and kind == "parquet" else kind


def name_in(root: Path, path: Path) -> str:
    """A file's name within a source; of a source that is one file, its name."""
    return (path.relative_to(root) if path != root else Path(path.name)).as_posix()


def inside(source: Path) -> list[Path]:
    """The file itself, or all files of the folder, sorted by path; what begins with a dot is left out."""
    return [source] if source.is_file() else [path for path, why in _walk(source) if why is None]


def find_files(source: Path) -> Found:
    """The files of a source that are read, sorted by path, and the others.

    Raises DatasetError where there is none, where kinds are mixed, and for a file of a known kind that cannot be read.
    """
    if source.is_file():
        return Found(source, _kind_of_one(source), [source])
    known: dict[Path, str] = {}
    skipped: dict[str, str] = {}
    for path, why in _walk(source):
        kind = kind_of(path)
        if kind and why in (None, _NOWHERE):
            _check_readable(path, why)
            known[path] = kind
        else:
            skipped[name_in(source, path)] = why or "no kind of file that is read, by its name"
    kinds = {kind: path for path, kind in reversed(known.items())}
    if not kinds:
        found = f"only {', '.join(list(skipped)[:3])}{' and others' if len(skipped) > 3 else ''}" if skipped else "none"
        raise DatasetError(str(source), f"files named {_endings()}", found, "check the path and the names")
    if len(kinds) > 1:
        found = " and ".join(f"{kind} ({name_in(source, path)})" for kind, path in sorted(kinds.items()))
        raise DatasetError(str(source), "files of one kind", found, "give each kind a folder of its own")
    return Found(source, next(iter(kinds)), list(known), skipped)


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `datasets`' `save_to_disk`."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def inputs(source: str) -> list[str]:
    """The files that a local source's rows depend on; the path itself if it is a file, or is not there yet.

    Raises DatasetError, as `find_files` does, for what cannot be read.
    """
    folder = Path(source)
    if folder.is_file():
        return [str(path) for path in find_files(folder).files]
    if not folder.is_dir():
        return [source]
    card = folder / "README.md"
    files = inside(folder) if is_saved(folder) or card.is_file() else find_files(folder).files
    return [str(path) for path in files]


def no_tokenizer(dataset: str, model: str) -> DatasetError:
    """The error for pages of texts that came as tokens, with a model that has no tokenizer.json."""
    where, found = f"config: datasets: {dataset}", f"none, and no tokenizer.json in {model}"
    step = "add `tokenizer`, the folder or hub id of the one that made the tokens"
    return DatasetError(where, "a `tokenizer`, for pages to show texts that came as tokens", found, step)


def has_template(tokenizer: str | Path) -> bool:
    """Whether a tokenizer's folder has a chat template, as far as its files tell without reading the tokenizer."""
    folder = Path(tokenizer)
    if (folder / "chat_template.jinja").is_file() or (folder / "additional_chat_templates").is_dir():
        return True
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        return bool(settings.get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def no_template(tokenizer: str) -> DatasetError:
    """The error for chat messages with a tokenizer that has no chat template."""
    expected = "a tokenizer with a chat template (chat_template in tokenizer_config.json, or chat_template.jinja)"
    step = "name the chat model's own tokenizer, or leave `messages_column` out"
    return DatasetError(tokenizer, expected, "none", step)


def digest(root: Path, files: Iterable[Path]) -> str:
    """`sha256:...` over names (within `root`) and bytes of files."""
    whole = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            one = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{name_in(root, path)}\0{one}\n".encode("utf-8", "surrogateescape"))
    return f"sha256:{whole.hexdigest()}"


def _walk(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[tuple[Path, str | None]]:
    """Everything in a folder and those below, links followed, with why it is not looked at."""
    above |= {os.path.realpath(folder)}
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        step = "give yourself the right to, or take it out"
        raise DatasetError(str(folder), "a folder that can be read", str(error.strerror), step) from error
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            yield path, "its name begins with a dot"
        elif entry.is_dir():
            if os.path.realpath(path) in above:
                yield path, "a link to a folder that it lies in"
            else:
                yield from _walk(path, above)
        else:
            yield path, None if entry.is_file() else _NOWHERE if entry.is_symlink() else "no plain file"


def _kind_of_one(source: Path) -> str:
    kind = kind_of(source)
    if kind is None:
        raise DatasetError(str(source), f"a file named {_endings()}", "another kind", "rename it to what it is")
    _check_readable(source, None)
    return kind


def _check_readable(path: Path, why: str | None) -> None:
    if why is not None:
        raise DatasetError(str(path), "a file behind the link", "none", "mend the link, or take it out")
    if not os.access(path, os.R_OK):
        step = "give yourself the right to, or take it out"
        raise DatasetError(str(path), "a file that can be read", "no permission", step)


def _endings() -> str:
    return f"{', '.join(KINDS)} (or these and {', '.join(PACKED)})"

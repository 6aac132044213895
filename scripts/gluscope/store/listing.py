"""What a folder of results holds: a list of its files with sizes and checksums, in a file among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import google_crc32c

from gluscope.core.errors import StoreError
from gluscope.store.atomic import new_file
from gluscope.store.damage import to_redo
from gluscope.store.sealed import read_sealed, sealed

LISTING = ".files.json"  # hidden, so that no other tool takes it for data
KIND = "a list of a folder's files"
_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Listed:
    """A file: its name in the folder, with `/`, its size in bytes and their crc32c in hex."""

    name: str
    size: int
    crc32c: str

    @classmethod
    def of(cls, folder: Path, path: Path) -> Listed:
        sum_ = google_crc32c.Checksum()
        with open(path, "rb") as file:
            while data := file.read(_AT_ONCE):
                sum_.update(data)
        return cls(path.relative_to(folder).as_posix(), path.stat().st_size, sum_.hexdigest().decode())

    @classmethod
    def of_bytes(cls, name: str, data: bytes) -> Listed:
        """A file that will be written."""
        return cls(name, len(data), google_crc32c.Checksum(data).hexdigest().decode())


def list_folder(folder: str | Path) -> list[Listed]:
    """All files of a folder and of those in it, by name."""
    folder = Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != LISTING)
    return [Listed.of(folder, path) for path in files]


def own_listing(path: Path) -> str:
    """Name of the list that holds a single file, beside it."""
    return f".{path.name}.json"


def list_file(path: Path, part: Path) -> None:
    """Write the list of a single file, which stands under the name `part` so far."""
    with new_file(path.with_name(own_listing(path))) as listing:
        write_listing(path.parent, [replace(Listed.of(part.parent, part), name=path.name)], listing)


def write_listing(folder: str | Path, files: Iterable[Listed] | None = None, into: Path | None = None) -> None:
    """Write the list of a folder's files, by default of all that are there. into: another file to write to."""
    listed = list_folder(folder) if files is None else files
    content = {"files": [[file.name, file.size, file.crc32c] for file in listed]}
    (into or Path(folder) / LISTING).write_text(sealed(KIND, content), encoding="utf-8")


def check_listed(
    folder: str | Path,
    whole: bool = False,
    store: str | Path | None = None,
    listing: str = LISTING,
    among: re.Pattern[str] = re.compile(".*"),
) -> None:
    """Every file of the list is there in full length and, if `whole`, as it was written.

    store: what is to be made anew where that is not so, by default the folder. listing: name of the list. among: names
    of the files that matter. A folder of an earlier version has no list and is taken as it is. Raises StoreError that
    names a file.
    """
    folder = Path(folder)
    store = Path(store or folder)
    if not (folder / listing).exists():
        return
    for file in read_sealed(folder / listing, KIND, lambda raw: list(_files(**raw)), store):
        if not among.fullmatch(file.name):
            continue
        path = folder / file.name
        size = path.stat().st_size if path.is_file() else None
        if size != file.size:
            found = "no such file" if size is None else f"{size} bytes"
            raise to_redo(StoreError, store, str(path), f"{file.size} bytes", found)
        if whole and Listed.of(folder, path) != file:
            raise to_redo(StoreError, store, str(path), "the file as it was written", "other bytes (checksum)")


def _files(files: list[list[Any]]) -> Iterator[Listed]:
    for name, size, sum_ in files:
        yield Listed(name, size, sum_)

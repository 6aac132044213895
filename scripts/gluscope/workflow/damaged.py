"""Stores that a job has found damaged or of other settings: the job notes them, the next start removes them.

The job only refuses: others may read the same store at that time, and Snakemake would wait for what has gone. The next
start, with no job left, removes what was noted and is still the same, so that the same command makes it anew.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from gluscope.core.paths import STATE

NOTES = Path(STATE, "gluscope-redo")
_STANDS = ("zarr.json", "tokens.json", "state.json", "pages.json", "sources.json")  # for a folder, each for its kind


def _identity(store: Path) -> list[Any]:
    """Inode, size and time of change of all files of a store; it is another one where these differ."""
    files = [store] if store.is_file() else sorted(path for path in store.rglob("*") if path.is_file())
    stats = [(path, path.stat()) for path in files]
    return [[str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns] for path, stat in stats]


def note(store: str, why: str, notes: Path = NOTES) -> None:
    """Remember that a store, a path relative to the working directory, is to be made anew."""
    notes.mkdir(parents=True, exist_ok=True)
    file = notes / f"{sha256(store.encode()).hexdigest()[:32]}.json"
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.write_text(json.dumps({"store": store, "why": why, "files": _identity(Path(store))}), encoding="utf-8")
    temporary.replace(file)


def _still_true(file: Path) -> tuple[Path, str] | None:
    """Store and reason of a note; None if it cannot be read, or if the store is not what it was."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        store, why, files = Path(found["store"]), str(found["why"]), found["files"]
        return (store, why) if store.exists() and _identity(store) == files else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def why_noted(files: Iterable[str], notes: Path = NOTES) -> str | None:
    """What is wrong with a noted store that is, or holds, one of these files; None if there is none."""
    wanted = {part for file in map(Path, files) for part in (file, *file.parents)}
    noted = filter(None, map(_still_true, sorted(notes.glob("*.json"))))
    return next((why for store, why in noted if store in wanted), None)


def remove_noted(notes: Path = NOTES, within: str = "results") -> list[str]:
    """Remove the noted stores that are still what they were. Returns, for each, what was wrong with it."""
    removed = []
    for file in sorted(notes.glob("*.json")):
        if found := _still_true(file):
            store, why = found
            if not store.is_absolute() and store.is_relative_to(within) and ".." not in store.parts:
                remove(store)
                removed.append(why)
        file.unlink(missing_ok=True)
    return removed


def remove(store: Path) -> None:
    """A folder loses the file that stands for it first, so that no reader takes the rest for whole."""
    if store.is_dir():
        for name in _STANDS:
            (store / name).unlink(missing_ok=True)
        shutil.rmtree(store)
    else:
        store.unlink()

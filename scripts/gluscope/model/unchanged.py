"""Whether a local model's files are still those of the revision that it was described with.

A training run may save its next checkpoint over the folder while jobs wait in the queue. A revision is a digest of all
bytes; so that a job need not read them all, what was found is kept with the files' sizes and dates.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from gluscope.core.errors import GluscopeError, ModelError
from gluscope.core.paths import STATE
from gluscope.model.files import fingerprint, weight_files
from gluscope.model.spec import ModelSpec
from gluscope.store.atomic import before_final_names

KNOWN = Path(STATE, "gluscope-revisions")
_LOCAL = "sha256:"  # begins the revision of a folder; that of a hub snapshot is a commit, and its files stay


def revision_now(folder: Path, known: Path = KNOWN) -> str:
    """The revision of a model's folder as its files are now. They are read if their sizes or dates are new."""
    return str(_now(folder, known)["revision"])


def _now(folder: Path, known: Path) -> dict[str, Any]:
    files = _files(folder)
    name = sha256(json.dumps([str(folder.resolve()), files]).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    try:
        kept: dict[str, Any] = json.loads((known / f"{name}.json").read_text(encoding="utf-8"))
        if kept["revision"].startswith(_LOCAL):
            return kept
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    found = {"revision": _read_all(str(folder), json.dumps(files)), "files": files}
    if known.parent.is_dir() and _files(folder) == files:
        known.mkdir(exist_ok=True)
        part = known / f"{name}.json.{os.getpid()}"
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(known / f"{name}.json")
    return found


@functools.lru_cache(maxsize=8)
def _read_all(folder: str, files: str) -> str:
    """The revision of a folder, read once for these sizes and dates."""
    return fingerprint(Path(folder))


def _files(folder: Path) -> dict[str, list[int]]:
    """Size, time of change of content, and of anything (which no program sets), of all files that make a revision."""
    stats = {file.name: file.stat() for file in (folder / "config.json", *weight_files(folder))}
    return {name: [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in stats.items()}


def refuse_replaced(spec: ModelSpec, known: Path = KNOWN) -> None:
    """Raises ModelError, which names the files and both revisions, if the model's folder holds another revision."""
    folder = Path(spec.folder)
    if not spec.revision.startswith(_LOCAL):
        return
    try:
        now = _now(folder, known)
    except OSError as error:
        raise ModelError(str(folder), f"the files of revision {_short(spec.revision)}", str(error), _NEXT) from error
    if now["revision"] != spec.revision:
        expected = f"revision {_short(spec.revision)}, which this run was planned for"
        which = _which(spec.revision, now["files"], known)
        raise ModelError(str(folder), expected, f"{_short(now['revision'])}{which}: its files were replaced", _NEXT)


_NEXT = "run the same command again: it begins with the files as they are now"


def _short(revision: str) -> str:
    return revision[: len(_LOCAL) + 12]


def _which(revision: str, now: dict[str, list[int]], known: Path) -> str:
    """Which files are not as they were when this revision was read, where that is known."""
    for path in known.glob("*.json"):
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["revision"] == revision:
                other = [name for name in sorted(kept["files"] | now) if kept["files"].get(name) != now.get(name)]
                return f" ({', '.join(other[:3])}{' and more' if len(other) > 3 else ''})" if other else ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return ""


@contextmanager
def models_unchanged(inputs: Iterable[str], known: Path = KNOWN) -> Iterator[None]:
    """Around a job: its model's files are those of model.json, now and when it gives a file its final name.

    inputs: of the job; those named model.json are looked at. Raises ModelError.
    """
    specs = [spec for file in inputs if Path(file).name == "model.json" if (spec := _readable(file))]

    def look() -> None:
        for spec in specs:
            refuse_replaced(spec, known)

    look()
    with before_final_names(look):
        yield


def _readable(file: str) -> ModelSpec | None:
    """None for a damaged description, which the job's own reading refuses."""
    try:
        return ModelSpec.read(file)
    except GluscopeError:
        return None

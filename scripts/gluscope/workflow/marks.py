"""What Snakemake notes of its jobs: locks, marks of files that are not finished, records of how files were made.

It keeps them as files in `.snakemake/`, or, with `--persistence-backend db`, in a database.
"""

from __future__ import annotations

import os
import sqlite3
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gluscope.core.paths import STATE

if TYPE_CHECKING:
    from snakemake.persistence.db import DbPersistence

DATABASE = "metadata.db"  # in `.snakemake/`, unless another one is named
_USUAL = 255
_CLOCK = 2.0  # seconds by which clocks of machines may differ


class Marks(Protocol):
    """Locks and marks of a working directory."""

    def locks(self) -> list[str]:
        """Names of the locks that are there."""
        ...

    def unlock(self) -> list[str]:
        """Remove them; returns their names."""
        ...

    def unfinished(self) -> list[str]:
        """Files, as Snakemake names them, whose jobs have begun and, for all that Snakemake knows, not ended."""
        ...

    def finish(self, file: str) -> None:
        """Take the mark from a file."""
        ...


class FileMarks:
    """The usual ones. state: `.snakemake/`."""

    def __init__(self, state: Path) -> None:
        self._locks, self._incomplete = state / "locks", state / "incomplete"

    def locks(self) -> list[str]:
        return sorted(lock.name for lock in self._locks.glob("*.lock"))

    def unlock(self) -> list[str]:
        removed = self.locks()
        for lock in removed:
            (self._locks / lock).unlink(missing_ok=True)
        return removed

    def unfinished(self) -> list[str]:
        found = []
        for mark in [path for path in self._incomplete.rglob("*") if path.is_file()]:
            # Long names are cut into folders that start with "@".
            encoded = "".join(part.removeprefix("@") for part in mark.relative_to(self._incomplete).parts)
            with suppress(ValueError):
                found.append(urlsafe_b64decode(encoded).decode())
        return sorted(found)

    def finish(self, file: str) -> None:
        _at(self._incomplete, file).unlink(missing_ok=True)


class DatabaseMarks:
    """Those in a database, by Snakemake's own class. url: as `--persistence-backend-db-url` has it."""

    def __init__(self, state: Path, url: str | None = None) -> None:
        from snakemake.persistence.db import DbPersistence

        self._known: DbPersistence = DbPersistence(path=state.absolute(), db_url=url)

    def locks(self) -> list[str]:
        return sorted({file for _, file in self._known._read_locks()})

    def unlock(self) -> list[str]:
        removed = self.locks()
        self._known._delete_locks()
        return removed

    def unfinished(self) -> list[str]:
        from snakemake.persistence.db import MetadataRecordORM as Record
        from sqlalchemy import select
        from sqlalchemy.orm import Session

        asked = select(Record.target).where(Record.namespace == self._known.namespace, Record.incomplete)
        with Session(self._known.engine) as session:
            return sorted(session.scalars(asked))

    def finish(self, file: str) -> None:
        self._known._unmark_incomplete(file)


def marks_of(workflow: Any, state: Path = Path(STATE)) -> Marks:
    """Those that a call of Snakemake looks at. workflow: Snakemake's own."""
    settings = workflow.workflow_settings
    if getattr(getattr(settings, "persistence_backend", None), "name", "FILE") == "DB":  # from Snakemake 9.17 on
        return DatabaseMarks(state, settings.persistence_backend_db_url)
    return FileMarks(state)


def in_database(state: Path = Path(STATE)) -> bool:
    """Whether the last calls of Snakemake here kept their records in the usual database."""
    database, files = state / DATABASE, state / "metadata"
    if not database.is_file():
        return False
    since = database.stat().st_mtime + _CLOCK
    return not any(file.stat().st_mtime > since for file in files.rglob("*") if file.is_file())


def forget(file: str, state: Path = Path(STATE)) -> None:
    """Drop the record of a file, a path relative to the working directory, that something else has made since.

    With the record of an earlier one Snakemake would compare that one's settings; a file without a record it takes by
    its date alone. (Records in a database that is not the usual one stay.)
    """
    _at(state / "metadata", file).unlink(missing_ok=True)
    if (database := state / DATABASE).is_file():
        dropped = "DELETE FROM snakemake_metadata WHERE namespace = ? AND target = ?"
        with suppress(sqlite3.Error), closing(sqlite3.connect(database)) as known, known:
            known.execute(dropped, (str(state.absolute()), file))


def _at(folder: Path, file: str) -> Path:
    """Where Snakemake keeps its note of a file among those of a folder."""
    try:
        longest = os.pathconf(folder, "PC_NAME_MAX") or _USUAL
    except OSError:
        longest = _USUAL
    name = urlsafe_b64encode(file.encode()).decode()
    *first, last = (name[at : at + longest - 1] for at in range(0, len(name), longest - 1))
    return Path(folder, *(f"@{part}" for part in first), last)

"""What readers say of files that are missing or altered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gluscope.core.errors import GluscopeError, StoreError

MISSING = "run the command that makes it"


class Damaged(Exception):
    """Bytes that are not what was written. The message is "EXPECTED, found FOUND"."""


def made_anew(store: Path) -> str:
    """What to do with a store that is damaged: all of it goes, since a job makes it whole."""
    return f"remove {store} and run the same command again: only it is made anew"


def to_redo(kind: type[GluscopeError], store: Path, where: str, expected: str, found: str) -> GluscopeError:
    """An error about a store that is to be made anew."""
    error = kind(where, expected, found, made_anew(store))
    error.redo = (str(store),)
    return error


@contextmanager
def refused(store: Path, part: str) -> Iterator[None]:
    """Turn what a damaged or missing `part` leads to into a StoreError that names it and its store."""
    where = f"{store}: {part}"
    try:
        yield
    except Damaged as error:
        expected, _, found = str(error).partition(", found ")
        raise to_redo(StoreError, store, where, expected, found) from error
    except (FileNotFoundError, KeyError) as error:
        raise to_redo(StoreError, store, where, "this part of it", "nothing there") from error

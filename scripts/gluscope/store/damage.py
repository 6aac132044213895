"""What readers say of files that are missing or altered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gluscope.core.errors import StoreError

MISSING = "run the command that makes it"


class Damaged(Exception):
    """Bytes that are not what was written. The message is "EXPECTED, found FOUND"."""


def made_anew(store: Path) -> str:
    """What to do with a store that is damaged: all of it goes, since a job makes it whole."""
    return f"remove {store} and run the same command again: only it is made anew"


@contextmanager
def refused(store: Path, part: str) -> Iterator[None]:
    """Turn what a damaged or missing `part` leads to into a StoreError that names it and its store."""
    where = f"{store}: {part}"
    try:
        yield
    except Damaged as error:
        expected, _, found = str(error).partition(", found ")
        raise StoreError(where, expected, found, made_anew(store)) from error
    except (FileNotFoundError, KeyError) as error:
        raise StoreError(where, "this part of it", "nothing there", made_anew(store)) from error

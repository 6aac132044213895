"""What readers say of files that are missing or altered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gluscope.core.errors import GluscopeError, StoreError, WrongFile

MISSING = "run the command that makes it"
NOTHING_THERE = "nothing there"  # what is found where a file or an array is missing


class Damaged(Exception):
    """Bytes that are not what was written. The message is "EXPECTED, found FOUND"."""


class Misplaced(Damaged):
    """Bytes that are what was written, but under another name. The message as before."""


def made_anew(store: Path) -> str:
    """What to do with a store that is damaged: all of it goes, since a job makes it whole."""
    return f"remove {store} and run the same command again: only it is made anew"


def to_redo(kind: type[GluscopeError], store: Path, where: str, expected: str, found: str) -> GluscopeError:
    """An error about a store that is to be made anew."""
    error = kind(where, expected, found, made_anew(store))
    error.redo = (str(store),)
    return error


def as_error(damage: Damaged, store: Path, where: str) -> GluscopeError:
    """The error for what was found of a store, which is to be made anew."""
    expected, _, found = str(damage).partition(", found ")
    return to_redo(WrongFile if isinstance(damage, Misplaced) else StoreError, store, where, expected, found)


def refuse_other_shard(store: Path, attributes: Mapping[str, Any]) -> None:
    """Raises WrongFile for what stands under another shard's name. attributes: the store's, which name its own."""
    name, own = store.name.partition(".")[0], attributes.get("shard")
    if name.isdecimal() and own not in (None, name):
        raise to_redo(WrongFile, store, str(store), f"shard {name}", f"shard {own}")


@contextmanager
def zip_damage(expected: str) -> Iterator[None]:
    """What zipfile raises for altered archives, which has no common class, as Damaged."""
    try:
        yield
    except (Damaged, GluscopeError, FileNotFoundError, MemoryError):
        raise
    except Exception as error:
        raise Damaged(f"{expected}, found damage ({' '.join(str(error).split())[:200]})") from error


@contextmanager
def refused(store: Path, part: str) -> Iterator[None]:
    """Turn what a damaged or missing `part` leads to into a StoreError that names it and its store."""
    where = f"{store}: {part}"
    try:
        yield
    except Damaged as error:
        raise as_error(error, store, where) from error
    except (FileNotFoundError, KeyError) as error:
        raise to_redo(StoreError, store, where, "this part of it", NOTHING_THERE) from error

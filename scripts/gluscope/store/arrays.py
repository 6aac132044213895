"""A record's arrays as an .npz without pickles: written whole or not at all, and read with what is wrong named."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import StoreError, WrongFile
from gluscope.store.atomic import new_file
from gluscope.store.damage import to_redo

_REDO = "delete that file and run the same command again"


def write_arrays(path: str | Path, version: int, values: Mapping[str, Any]) -> None:
    """Write arrays, numbers and texts by name. version: of the format."""
    with new_file(path) as part, part.open("wb") as file:
        np.savez(file, format=version, **values)


def read_arrays(
    path: str | Path, what: str, version: int, names: Collection[str], may_lack: Collection[str] = ()
) -> dict[str, Any]:
    """What `write_arrays` wrote. what: in words. names: all that it has; those of `may_lack` may be missing together.

    Raises StoreError for a file that is missing or damaged, WrongFile for something else.
    """
    try:
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
            stored: dict[str, Any] = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise StoreError(str(path), what, "no such file", _REDO) from None
    except MemoryError:
        raise
    except Exception as error:  # what zipfile raises for altered archives has no common class
        damage = f"damage ({' '.join(str(error).split())[:150] or type(error).__name__})"
        raise to_redo(StoreError, Path(path), str(path), what, damage) from error
    if set(stored) | set(may_lack) != {"format", *names} or stored.pop("format") != version:
        raise to_redo(WrongFile, Path(path), str(path), f"{what} of format {version}", "others")
    return {name: values if values.ndim else values.item() for name, values in stored.items()}

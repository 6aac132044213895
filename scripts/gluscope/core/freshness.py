"""Whether a file is newer than what it is made from, for files that are made in bulk."""

from __future__ import annotations

import os
from collections.abc import Iterable


def is_fresh(path: str, made_from: Iterable[str]) -> bool:
    """True if `path` exists and none of the files it is made from is newer. Those must exist."""
    try:
        own = os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return False
    return all(os.stat(part).st_mtime_ns <= own for part in made_from)

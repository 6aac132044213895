"""Small files that are there completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: str | Path) -> Iterator[str]:
    """`with whole(path) as part: ...` writes `part`, which then gets the name `path`; after an error nothing stays."""
    part = f"{path}.{os.getpid()}.part"
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        os.replace(part, path)
    finally:
        Path(part).unlink(missing_ok=True)

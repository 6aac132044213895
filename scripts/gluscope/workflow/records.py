"""Snakemake's records of how it made files, for who makes one in its place."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from pathlib import Path

from gluscope.core.paths import STATE

METADATA = Path(STATE, "metadata")
_USUAL = 255


def forget(file: str, records: Path = METADATA) -> None:
    """Drop the record of a file, a path relative to the working directory, that something else has made since.

    With the record of an earlier one Snakemake would compare that one's settings; a file without a record it takes by
    its date alone. (Records in a database, which `--persistence-backend db` asks for, stay.)
    """
    if not records.is_dir():
        return
    try:
        longest = os.pathconf(records, "PC_NAME_MAX") or _USUAL
    except OSError:
        longest = _USUAL
    name = urlsafe_b64encode(file.encode()).decode()
    *first, last = (name[at : at + longest - 1] for at in range(0, len(name), longest - 1))
    Path(records, *(f"@{part}" for part in first), last).unlink(missing_ok=True)

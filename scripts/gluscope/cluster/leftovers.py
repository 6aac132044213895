"""What a start that died leaves in `.snakemake/` of incomplete files.

All files of this workflow appear under their final names whole or not at all, so a marked file that is there is
complete: its mark is taken away and its work is kept.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from pathlib import Path


def keep_finished_files(state: Path, folder: Path = Path(), prefix: str = "results/") -> list[str]:
    """Take the incomplete mark from every file under `prefix` that is there. Returns their names.

    Only when no job of an earlier start is left, and on outputs that are written whole or not at all.
    """
    marks = state / "incomplete"
    kept = []
    for mark in [path for path in marks.rglob("*") if path.is_file()]:
        # Long names are cut into folders that start with "@".
        encoded = "".join(part.removeprefix("@") for part in mark.relative_to(marks).parts)
        try:
            name = urlsafe_b64decode(encoded).decode()
        except ValueError:
            continue
        if name.startswith(prefix) and (folder / name).is_file():
            mark.unlink(missing_ok=True)
            kept.append(name)
    return sorted(kept)

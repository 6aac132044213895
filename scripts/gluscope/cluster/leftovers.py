"""What a start that died leaves in `.snakemake/`: locks, and marks of incomplete files.

All files of this workflow appear under their final names whole or not at all, so a marked file that is there is
complete: its mark is taken away and its work is kept. A lock is taken away if its owner was on this host and is gone.
"""

from __future__ import annotations

import json
import os
import socket
from base64 import urlsafe_b64decode
from pathlib import Path

OWNER = "gluscope-owner.json"


def _started(pid: int) -> str | None:
    """When a process of this host started, in the kernel's ticks; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def owner_is_gone(state: Path) -> bool:
    """True if the last start that owned `state` (`.snakemake/`) ran on this host and has ended."""
    try:
        owner = json.loads((state / OWNER).read_text(encoding="utf-8"))
        return bool(owner["host"] == socket.gethostname() and _started(owner["pid"]) != owner["started"])
    except (OSError, ValueError, KeyError):
        return False


def take_over(state: Path) -> list[str]:
    """Become the owner of `state` and remove the locks of an owner that is gone. Returns the locks removed."""
    state.mkdir(exist_ok=True)
    removed = []
    if owner_is_gone(state):
        for lock in sorted((state / "locks").glob("*.lock")):
            lock.unlink(missing_ok=True)
            removed.append(lock.name)
    elif any((state / "locks").glob("*.lock")):
        return []
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
    temporary = state / f"{OWNER}.{os.getpid()}"
    temporary.write_text(json.dumps(owner), encoding="utf-8")
    temporary.replace(state / OWNER)
    return removed


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

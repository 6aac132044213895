"""Which starts of Snakemake live in a working directory, and whether a lock may go because all of them have died.

Each start enters itself into a folder of `.snakemake/` before it looks at the others, and leaves when it ends. A start
that was killed leaves its entry; on its own host that shows, since the process is gone. Of another host nothing is
known: its entries count as alive.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from gluscope.workflow.marks import FileMarks, Marks

OWNERS = "gluscope-owners"
_BEFORE = "gluscope-owner.json"  # one file for all starts, in earlier releases


@dataclass(frozen=True)
class Owner:
    """A start of Snakemake. started: of its process, in the kernel's ticks, since numbers of processes come again."""

    host: str
    pid: int
    started: str | None

    @classmethod
    def this(cls) -> Owner:
        return cls(socket.gethostname(), os.getpid(), _started(os.getpid()))

    @property
    def alive(self) -> bool:
        return self.host != socket.gethostname() or _started(self.pid) == self.started

    def file(self, state: Path) -> Path:
        return state / OWNERS / f"{self.host}-{self.pid}-{self.started}.json"


def _started(pid: int) -> str | None:
    """When a process of this host started; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def take_over(state: Path, marks: Marks | None = None) -> tuple[list[str], list[Owner]]:
    """Enter this start into `state` (`.snakemake/`) and remove the locks if all starts known there have died.

    marks: where the locks are, by default in `state`.

    Returns the locks removed, and the other starts that live or may live.
    """
    with _one_at_a_time(state):
        _enter(state)
        others = [(owner, file) for owner, file in _entries(state) if owner != Owner.this()]
        living = [owner for owner, _ in others if owner.alive]
        dead = [file for owner, file in others if not owner.alive]
        removed: list[str] = []
        if dead and not living:
            removed = (marks or FileMarks(state)).unlock()
        for file in dead:
            file.unlink(missing_ok=True)
    return removed, living


def forget_other_hosts(state: Path) -> None:
    """The user says that no start lives: drop what is known of other hosts, where nobody can look."""
    for owner, file in _entries(state):
        if owner.host != socket.gethostname():
            file.unlink(missing_ok=True)


def _enter(state: Path) -> None:
    own = Owner.this()
    file = own.file(state)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".part")
    temporary.write_text(json.dumps(asdict(own)), encoding="utf-8")
    temporary.replace(file)
    atexit.register(_leave, own, file.absolute())


def _leave(own: Owner, file: Path) -> None:
    if own == Owner.this():  # not in a child that was forked
        file.unlink(missing_ok=True)


def _entries(state: Path) -> list[tuple[Owner, Path]]:
    found = []
    for file in [*sorted((state / OWNERS).glob("*.json")), state / _BEFORE]:
        try:
            entry = json.loads(file.read_text(encoding="utf-8"))
            found.append((Owner(entry["host"], int(entry["pid"]), entry["started"]), file))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


@contextmanager
def _one_at_a_time(state: Path) -> Iterator[None]:
    """Starts of one host take turns, so that none takes a lock that another has just got. Not all systems can do it;
    there two that start at once after a third has died both leave its lock."""
    state.mkdir(parents=True, exist_ok=True)
    with open(state / "gluscope-owners.lock", "w") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

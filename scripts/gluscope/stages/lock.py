"""stages.lock: of each stage the version, and the digest of the code that was decided to give its results.

Where the digest moves, somebody decides: the results are the same, or the stage has a new version. The lock also has a
digest of every file, so that it can be said which ones moved.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gluscope.core.digest import code_behind, code_on_gpu, joined
from gluscope.stages.table import STAGES

LOCK = "stages.lock"
_HEAD = "# Versions of stages, and the code that they were decided for. Written by `make stages`, which see.\n"


@dataclass(frozen=True)
class Lock:
    """stages: by name, (version, digest of the code). files: by path under scripts/, digest."""

    stages: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Raises FileNotFoundError, and ValueError for what is no such file, a merge conflict for example."""
        stages: dict[str, tuple[int, str]] = {}
        files: dict[str, str] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            match line.split():
                case ["stage", name, version, digest]:
                    stages[name] = int(version), digest
                case ["file", name, digest]:
                    files[name] = digest
                case [] | ["#", *_]:
                    pass
                case _:
                    raise ValueError(f"{path}: not a line of it: {line!r}")
        return cls(stages, files)

    def save(self, path: Path) -> None:
        stages = [f"stage {name} {version} {digest}\n" for name, (version, digest) in sorted(self.stages.items())]
        files = [f"file {name} {digest}\n" for name, digest in sorted(self.files.items())]
        path.write_text("".join([_HEAD, *stages, *files]), encoding="utf-8")


@dataclass(frozen=True)
class Undecided:
    """A stage whose code is not what was decided. files: which moved, came or went."""

    stage: str
    files: tuple[str, ...]


def files_of(stage: str, folder: Path) -> dict[str, str]:
    """Digests of the files behind a stage, by path under `folder`/scripts. folder: where the Snakefile lies."""
    scripts = folder / "scripts"
    if stage in {about.on_gpu for about in STAGES.values()}:
        return code_on_gpu(scripts)
    data = tuple(scripts / "gluscope" / part for part in STAGES[stage].shows_with)
    return code_behind(scripts / f"{STAGES[stage].script or stage}.py", scripts, data)


@functools.cache
def digest_of(stage: str, folder: Path) -> str:
    """Digest of the code behind a stage, and of what it shows with."""
    return joined(files_of(stage, folder))


def lock_now(folder: Path) -> Lock:
    """What the lock would be if all that moved were decided."""
    files: dict[str, str] = {}
    for stage in STAGES:
        files |= {name: digest[:8] for name, digest in files_of(stage, folder).items()}
    return Lock({name: (about.version, digest_of(name, folder)) for name, about in STAGES.items()}, files)


def undecided(lock: Lock, folder: Path) -> list[Undecided]:
    """Stages whose code or version is not what the lock says."""
    found = []
    for stage, own in lock_now(folder).stages.items():
        if lock.stages.get(stage) != own:
            now = files_of(stage, folder)
            moved = [name for name, digest in now.items() if lock.files.get(name) != digest[:8]]
            found.append(Undecided(stage, tuple(sorted(moved))))
    return found


def record(lock: Lock, folder: Path, same: Iterable[str], raised: Mapping[str, int] | None = None) -> Lock:
    """The lock after a decision: the results of `same` are those of before, `raised` have new versions.

    A file's digest is taken when all stages that use it are decided.
    """
    now = lock_now(folder)
    versions = {name: version for name, (version, _) in now.stages.items()} | dict(raised or {})
    decided = {*same, *(raised or {})}
    left = {moved.stage for moved in undecided(lock, folder)} - decided
    taken = {name: (versions[name], digest) for name, (_, digest) in now.stages.items() if name not in left}
    waiting = {file for stage in left for file in files_of(stage, folder)}
    files = {file: digest for file, digest in now.files.items() if file not in waiting}
    kept_stages = {name: lock.stages[name] for name in left & lock.stages.keys()}
    return Lock({**taken, **kept_stages}, {**files, **{name: lock.files[name] for name in waiting & lock.files.keys()}})

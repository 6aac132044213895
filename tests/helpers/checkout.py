"""A working copy of this repository, as a user's clone would be, and commands run in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def tracked_files() -> list[str]:
    """Files that git tracks or would track, relative to the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted({name for name in listed.stdout.split("\0") if name and os.path.lexists(REPO / name)})


def copy_checkout(folder: Path) -> Path:
    """Copy the repository to `folder` as a clone would hold it, with this environment as its `.venv`."""
    for name in tracked_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPO / name, target, follow_symlinks=False)
    (folder / ".venv").symlink_to(BIN.parent)
    return folder


def user_environment(**extra: str) -> dict[str, str]:
    """The environment of a shell in which the user has activated `.venv`, with the hub out of reach."""
    dropped = ("PYTEST", "SLURM", "PYTHONPATH", "HF_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1", "CI": "", **extra}


def snakemake(folder: Path, *arguments: str, timeout: float = 600, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `snakemake ARGUMENTS` in `folder`; the caller looks at the exit status."""
    return subprocess.run(
        [str(BIN / "snakemake"), *arguments],
        cwd=folder, env=user_environment(**extra), capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip

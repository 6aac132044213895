"""A working copy of this repository, as a user's clone would be, and commands run in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# Seconds after which a program has hung: many times what the longest one takes on a machine that is busy otherwise.
PATIENCE = 3600.0


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


def small_demo(folder: Path) -> None:
    """Give the demo of a checkout a tenth of its tokens and a few of its neurons; all else stays."""
    config = folder / "config/config.yaml"
    text, tokens = re.subn(r"max_tokens: 300000\b", "max_tokens: 30000", config.read_text(encoding="utf-8"))
    text, neurons = re.subn(r"\[L3/N34, [^]]*\]", "[L3/N34, L2/N633, L0/N433]", text)
    assert tokens == neurons == 1
    config.write_text(text, encoding="utf-8")


def user_environment(**extra: str) -> dict[str, str]:
    """The environment of a shell in which the user has activated `.venv`, with the hub out of reach."""
    dropped = ("PYTEST", "SLURM", "PYTHONPATH", "HF_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1", "CI": "", **extra}


def snakemake(folder: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `snakemake ARGUMENTS` in `folder`; the caller looks at the exit status. extra: of its environment."""
    return subprocess.run(
        [str(BIN / "snakemake"), *arguments],
        cwd=folder, env=user_environment(**extra), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip

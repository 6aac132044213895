"""Snakemake started as a user does, and killed with all its jobs while one of them writes a file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from helpers.checkout import BIN, PATIENCE, user_environment


def killed_under_way(folder: Path, typed: list[str], writing: str) -> None:
    """kill -9 to all of `snakemake TYPED` in `folder` when a file appears that matches the pattern `writing`."""
    with open(folder / "said", "wb") as said:
        started = subprocess.Popen(
            [str(BIN / "snakemake"), *typed],
            cwd=folder, env=user_environment(), stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    until = time.monotonic() + PATIENCE
    while not list(folder.glob(writing)):
        assert started.poll() is None, (folder / "said").read_text()
        assert time.monotonic() < until
        time.sleep(0.005)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    (folder / "said").unlink()

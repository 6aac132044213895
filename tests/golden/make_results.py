"""Make the golden results anew: python tests/golden/make_results.py. Only when a stage gets a new version."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "scripts"), str(HERE.parent)]

from helpers.golden_results import GOLDEN, collect  # noqa: E402
from helpers.room import Room  # noqa: E402
from helpers.tiny_models import make  # noqa: E402


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        room = Room(Path(folder))
        make(folder=room.folder / "my-model")
        room.write_texts()
        room.write_config()
        done = room.snakemake()
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        np.savez_compressed(GOLDEN, **collect(room.folder))


if __name__ == "__main__":
    main()

"""How long dry runs of large plans take, by hand: `PYTHONPATH=scripts:tests python tests/scale/plans.py`.

OLMo-7B's sizes, 64 shards, nothing made yet: one page, 10,000 listed pages over all layers, all 352,256.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from statistics import median

from helpers.room import Room

LAYERS, D_MLP, SHARDS, REPEATS = 32, 11008, 64, 3


def main() -> None:
    """Print median seconds and number of jobs for each list of neurons."""
    every = [f"L{layer}/N{neuron}" for layer in range(LAYERS) for neuron in range(D_MLP)]
    lists = {
        "1 page": every[:1],
        "10,000 pages": random.Random(0).sample(every, 10_000),
        f"{len(every):,} pages": [f"L{layer}/N*" for layer in range(LAYERS)],
    }
    for name, neurons in lists.items():
        with tempfile.TemporaryDirectory() as folder:
            room = Room(Path(folder))
            room.write_texts()
            room.fake_model(LAYERS, D_MLP)
            room.write_config(shards=SHARDS, neurons=neurons)
            seconds = []
            for _ in range(REPEATS):
                start = time.monotonic()
                jobs = sum(room.plan().values())
                seconds.append(time.monotonic() - start)
        print(f"{name}: {median(seconds):.1f} s, {jobs} jobs", flush=True)


if __name__ == "__main__":
    main()

"""Train the embedded demo's model by hand: `python scripts/train_demo.py --out config/demo/model`.

Takes about half an hour on two cores. No rule calls it: the model it made is kept in the repository.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from gluscope.demo.train import TrainSettings, train


def main() -> None:
    """Read the arguments, train, print progress."""
    defaults = TrainSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; replaced if it exists")
    parser.add_argument("--steps", type=int, default=defaults.steps, help=f"of the plan (default {defaults.steps})")
    parser.add_argument("--stop", type=int, default=defaults.stop, help=f"step to end at (default {defaults.stop})")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--float32", action="store_true", help="no bfloat16: for CPUs that are slow at it")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = TrainSettings(steps=arguments.steps, stop=arguments.stop, bfloat16=not arguments.float32)
    train(arguments.out, settings, partial(print, flush=True))


if __name__ == "__main__":
    main()

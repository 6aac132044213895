"""Run the model over one shard."""

from pathlib import Path
from typing import Any

from gluscope.dataset.plan import Plan
from gluscope.dataset.reader import TokenDataset
from gluscope.job import start
from gluscope.model.spec import ModelSpec
from gluscope.scan.loop import run_scan


def main(smk: Any) -> None:
    """Write `smk.output.scan`, statistics of every neuron, and the cache of `smk.output.cache` if it has one."""
    with start(smk):
        run_scan()


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

"""The statistics of all neurons of a run as a published activation data set."""

from pathlib import Path
from typing import Any

from gluscope.export.hf import write_hf
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write the folder of `smk.output[0]`."""
    with start(smk) as job:
        write_hf(Path(smk.output[0]).parent, smk.input[0], smk.wildcards.run, job.say)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

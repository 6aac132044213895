"""Join the statistics of all shards."""

from typing import Any

from gluscope.job import start
from gluscope.summary.merge import merge_shards


def main(smk: Any) -> None:
    """Write the summary whose last file is `smk.output[0]`."""
    with start(smk):
        merge_shards()


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

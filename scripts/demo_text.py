"""Collect the demo's texts from the running Python's own documentation."""

from typing import Any

from gluscope.demo.text import write_documents
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`, jsonl with `text` and `source`."""
    with start(smk) as job:
        job.say(f"{write_documents(smk.output[0])} texts from Python's own documentation")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

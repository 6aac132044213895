"""A stage's version and keys, as a file that is older or newer than what was made in bulk."""

from typing import Any

from gluscope.stages.made import version_text
from gluscope.store.atomic import new_file
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`: `smk.params.version` and `smk.params.settings`, as JSON."""
    with start(smk), new_file(smk.output[0]) as part:
        part.write_text(version_text(smk.params.version, smk.params.settings), encoding="utf-8")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

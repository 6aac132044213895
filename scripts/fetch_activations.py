"""Fetch a run's published activations from the hub."""

from typing import Any

from gluscope.dataset.sources import fetch
from gluscope.store.atomic import new_file
from gluscope.workflow.job import start

SAMPLED = ("samples/*",)  # sampled tokens, which may be large and are not read


def main(smk: Any) -> None:
    """Write `smk.output[0]`: where the activations lie now, and their revision."""
    with start(smk, online=True) as job:
        job.say(f"Fetching {smk.params.settings['activations']}")
        sources = fetch(smk.params.settings["activations"], None, leave_out=SAMPLED)
        with new_file(smk.output[0]) as part:
            sources.save(part)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

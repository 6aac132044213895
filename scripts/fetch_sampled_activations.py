"""Fetch a run's published sampled activations from the hub."""

from typing import Any

from gluscope.dataset.sources import fetch
from gluscope.store.atomic import new_file
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`: where the sampled activations lie now, and their revision."""
    with start(smk, online=True) as job:
        job.say(f"Fetching {smk.params.settings['sampled_activations']}")
        sources = fetch(smk.params.settings["sampled_activations"], None)
        with new_file(smk.output[0]) as part:
            sources.save(part)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

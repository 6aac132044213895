"""Fetch a run's published activations, or sampled ones, from the hub."""

from typing import Any

from gluscope.dataset.sources import fetch
from gluscope.store.atomic import new_file
from gluscope.workflow.job import start

# What lies beside them and is not read with them: sampled tokens, which may be large.
NOT_READ = {"activations": ("samples/*",), "sampled_activations": ()}


def main(smk: Any) -> None:
    """Write `smk.output[0]`: where the data of the one key of `smk.params.settings` lie now, and their revision."""
    ((key, place),) = smk.params.settings.items()
    with start(smk, online=True) as job:
        job.say(f"Fetching {place}")
        sources = fetch(place, None, leave_out=NOT_READ[key])
        with new_file(smk.output[0]) as part:
            sources.save(part)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

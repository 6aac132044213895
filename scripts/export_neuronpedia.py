"""The listed neurons of a run in Neuronpedia's export layout."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gluscope.export.neuronpedia import Release, write_neuronpedia
from gluscope.page.results import RunResults
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write the folder of `smk.output[0]`."""
    with start(smk) as job:
        results = RunResults.open(smk.wildcards.run, smk.input)
        spec = results.spec
        release = Release(
            run=results.run,
            provenance=results.provenance,
            n_layers=spec.n_layers,
            d_model=spec.d_model,
            d_mlp=spec.d_mlp,
            longest=results.dataset.record.longest,
            created=datetime.now(UTC).replace(microsecond=0, tzinfo=None),
        )
        counts = write_neuronpedia(Path(smk.output[0]).parent, release, results.neurons(smk.params.settings["neurons"]))
        job.say(f"{sum(counts.values())} neurons in {len(counts)} sources")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

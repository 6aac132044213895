"""A table of all neurons, for analysis."""

from typing import Any

from gluscope.export.neurons import write_neurons
from gluscope.summary.file import SummaryReader
from gluscope.weights.file import WeightsReader
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`."""
    with start(smk) as job:
        summary = SummaryReader(smk.input.summary)
        weights = WeightsReader.of_run(smk.input.weights, summary.about)
        layers = ((summary.layer(layer), weights.layer(layer)) for layer in range(summary.n_layers))
        rows = write_neurons(smk.output[0], layers, about=summary.about, say=job.say)
        job.say(f"{rows:,} neurons in {smk.output[0]}")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

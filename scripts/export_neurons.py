"""A table of all neurons, for analysis."""

from typing import Any

from gluscope.descriptions.types import Descriptions
from gluscope.effect.types import Effect
from gluscope.explain.types import Explanation
from gluscope.export.neurons import write_neurons
from gluscope.summary.file import SummaryReader
from gluscope.weights.file import WeightsReader
from gluscope.workflow.job import start
from gluscope.workflow.of_neurons import of_neurons


def main(smk: Any) -> None:
    """Write `smk.output[0]`."""
    with start(smk) as job:
        summary = SummaryReader(smk.input.summary)
        weights = WeightsReader.of_run(smk.input.weights, summary.provenance)
        layers = ((summary.layer(layer), weights.layer(layer)) for layer in range(summary.n_layers))
        described = Descriptions.read(smk.input.descriptions[0]) if smk.input.descriptions else None
        effects = of_neurons(smk, "effect", Effect, "npz") if smk.input.effects else None
        explained = of_neurons(smk, "explain", Explanation, "json") if smk.input.explanations else None
        known = {"provenance": summary.provenance, "effects": effects, "described": described, "explained": explained}
        rows = write_neurons(smk.output[0], layers, **known, say=job.say)
        job.say(f"{rows:,} neurons in {smk.output[0]}")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

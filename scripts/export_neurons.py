"""A table of all neurons, for analysis."""

from pathlib import Path
from typing import Any

from gluscope.core.freshness import is_fresh
from gluscope.core.paths import RunPaths
from gluscope.descriptions.types import Descriptions
from gluscope.effect.types import Effect
from gluscope.export.neurons import write_neurons
from gluscope.model.spec import ModelSpec
from gluscope.summary.file import SummaryReader
from gluscope.weights.file import WeightsReader
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`."""
    with start(smk) as job:
        summary = SummaryReader(smk.input.summary)
        weights = WeightsReader.of_run(smk.input.weights, summary.provenance)
        layers = ((summary.layer(layer), weights.layer(layer)) for layer in range(summary.n_layers))
        described = Descriptions.read(smk.input.descriptions[0]) if smk.input.descriptions else None
        known = {"provenance": summary.provenance, "effects": effects(smk), "described": described}
        rows = write_neurons(smk.output[0], layers, **known, say=job.say)
        job.say(f"{rows:,} neurons in {smk.output[0]}")


def effects(smk: Any) -> dict[int, dict[int, Effect]] | None:
    """Measured effects by layer and place, those of unlisted neurons too; None for a run that measures none."""
    if not smk.input.effects:
        return None
    paths = RunPaths(smk.wildcards.run)
    size, found = ModelSpec.read(paths.model).size, dict[int, dict[int, Effect]]()
    for file in sorted(Path(paths.root, "effect").glob("L*/**/N*.npz")):
        if is_fresh(str(file), [smk.input.summary, smk.input.weights, paths.version("effect")]):
            effect = Effect.read(file)
            found.setdefault(effect.layer, {})[size.place(effect.id)] = effect
    return found


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

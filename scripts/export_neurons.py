"""A table of all neurons, for analysis."""

from pathlib import Path
from typing import Any, TypeVar

from gluscope.core.freshness import is_fresh
from gluscope.core.paths import RunPaths
from gluscope.descriptions.types import Descriptions
from gluscope.effect.types import Effect
from gluscope.explain.types import Explanation
from gluscope.export.neurons import write_neurons
from gluscope.model.spec import ModelSpec
from gluscope.summary.file import SummaryReader
from gluscope.weights.file import WeightsReader
from gluscope.workflow.job import start

_Found = TypeVar("_Found", Effect, Explanation)


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


def of_neurons(smk: Any, stage: str, kind: type[_Found], ending: str) -> dict[int, dict[int, _Found]]:
    """What a stage found of each neuron, by layer and place, those of unlisted neurons too."""
    paths = RunPaths(smk.wildcards.run)
    size, found = ModelSpec.read(paths.model).size, dict[int, dict[int, _Found]]()
    for file in sorted(Path(paths.root, stage).glob(f"L*/**/N*.{ending}")):
        if is_fresh(str(file), [smk.input.summary, smk.input.weights, paths.version(stage)]):
            one = kind.read(file)
            found.setdefault(one.id.layer, {})[size.place(one.id)] = one
    return found


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

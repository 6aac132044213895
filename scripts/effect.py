"""What one neuron, or a batch of neurons of a layer, does to the model's predictions."""

from pathlib import Path
from typing import Any

from gluscope.core.freshness import is_fresh
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.core.ranges import from_ranges
from gluscope.core.size import Size
from gluscope.effect.stage import Asked, Results, measure_effects
from gluscope.model.spec import ModelSpec
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write the effect of the neuron that `smk.wildcards` name, or of `smk.params.neurons` where they are not fresh."""
    with start(smk) as job:
        spec, given = ModelSpec.read(smk.input.model), smk.input
        results = Results(
            summary=given.summary,
            weights=given.weights,
            tokens=Path(given.tokens).parent,
            recomputed=RunPaths(smk.wildcards.run).neuron,
        )
        asked = Asked(smk.params.settings["effect"], smk.resources.device, smk.resources.batch_tokens)
        measure_effects(spec, results, wanted(smk, spec.size), asked, job.say)


def wanted(smk: Any, size: Size) -> dict[NeuronId, str]:
    """The file of each neuron that is to be measured."""
    if hasattr(smk.wildcards, "neuron"):
        return {NeuronId.parse(smk.wildcards.neuron): smk.output[0]}
    paths, layer = RunPaths(smk.wildcards.run), int(smk.wildcards.layer)
    shared = [file for file in smk.input if file not in smk.input.neurons]
    files = {(neuron := size.neuron(layer, n)): paths.effect(neuron) for n in from_ranges(smk.params.neurons)}
    return {neuron: file for neuron, file in files.items() if not is_fresh(file, [*shared, paths.neuron(neuron)])}


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

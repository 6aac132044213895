"""What one neuron, or a batch of neurons of a layer, does to the model's predictions."""

from pathlib import Path
from typing import Any

from gluscope.core.paths import RunPaths
from gluscope.effect.stage import Asked, Results, measure_effects
from gluscope.model.spec import ModelSpec
from gluscope.workflow.job import start
from gluscope.workflow.of_neurons import inputs_but, wanted


def main(smk: Any) -> None:
    """Write the effect of the neuron that `smk.wildcards` name, or of `smk.params.neurons` where they are not fresh."""
    with start(smk) as job:
        spec, given, paths = ModelSpec.read(smk.input.model), smk.input, RunPaths(smk.wildcards.run)
        shared = inputs_but(smk, "neurons")
        results = Results(
            summary=given.summary,
            weights=given.weights,
            tokens=Path(given.tokens).parent,
            recomputed=paths.neuron,
        )
        asked = Asked(smk.params.settings["effect"], smk.resources.device, smk.resources.batch_tokens)
        outputs = wanted(smk, spec.size, paths.effect, lambda neuron: [*shared, paths.neuron(neuron)])
        measure_effects(spec, results, outputs, asked, job.say)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

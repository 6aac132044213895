"""Gate and in of one neuron, or of a batch of neurons of a layer, at the texts that their pages show."""

from pathlib import Path
from typing import Any

from gluscope.core.paths import RunPaths
from gluscope.model.spec import ModelSpec
from gluscope.recompute.stage import Origin, recompute
from gluscope.workflow.job import start
from gluscope.workflow.of_neurons import wanted

WORTH_COMPILING = 32  # neurons: by then reading their texts takes longer than compiling


def main(smk: Any) -> None:
    """Write the values of the neuron that `smk.wildcards` name, or of `smk.params.neurons` where they are not fresh."""
    with start(smk) as job:
        spec = ModelSpec.read(smk.input.model)
        outputs = wanted(smk, spec.size, RunPaths(smk.wildcards.run).neuron, lambda _: smk.input)
        origin = Origin(
            source=smk.params.settings["pages_from"],
            folders=[Path(cache).parent for cache in smk.input.caches],
            device=smk.resources.device,
            batch_tokens=smk.resources.batch_tokens,
            threads=smk.threads,
            compiled=len(outputs) >= WORTH_COMPILING,
        )
        tokens = Path(smk.input.tokens).parent
        if outputs:
            layer, places = next(iter(outputs)).layer, {spec.size.place(neuron): outputs[neuron] for neuron in outputs}
            recompute(spec, smk.input.summary, tokens, layer, places, origin)
        job.say(f"{len(outputs)} neurons from the {origin.source}")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

"""Gate and in of one neuron, or of a batch of neurons of a layer, at the texts that their pages show."""

from pathlib import Path
from typing import Any

from gluscope.core.freshness import is_fresh
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.core.ranges import from_ranges
from gluscope.core.size import Size
from gluscope.model.spec import ModelSpec
from gluscope.recompute.stage import Origin, recompute
from gluscope.workflow.job import start

WORTH_COMPILING = 32  # neurons: by then reading their texts takes longer than compiling


def main(smk: Any) -> None:
    """Write the values of the neuron that `smk.wildcards` name, or of `smk.params.neurons` where they are not fresh."""
    with start(smk) as job:
        spec = ModelSpec.read(smk.input.model)
        layer, outputs = wanted(smk, spec.size)
        origin = Origin(
            source=smk.params.settings["pages_from"],
            folders=[Path(cache).parent for cache in smk.input.caches],
            device=smk.resources.device,
            batch_tokens=smk.resources.batch_tokens,
            threads=smk.threads,
            compiled=len(outputs) >= WORTH_COMPILING,
        )
        tokens = Path(smk.input.tokens).parent
        recompute(spec, smk.input.summary, tokens, layer, outputs, origin)
        job.say(f"{len(outputs)} neurons from the {origin.source}")


def wanted(smk: Any, size: Size) -> tuple[int, dict[int, str]]:
    """The layer, and the file of each place in it that is to be made."""
    if hasattr(smk.wildcards, "neuron"):
        neuron = NeuronId.parse(smk.wildcards.neuron)
        return neuron.layer, {size.place(neuron): smk.output[0]}
    paths, layer = RunPaths(smk.wildcards.run), int(smk.wildcards.layer)
    files = {place: paths.neuron(size.neuron(layer, place)) for place in from_ranges(smk.params.neurons)}
    return layer, {place: file for place, file in files.items() if not is_fresh(file, smk.input)}


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

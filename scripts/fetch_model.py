"""Find the model of a run, or fetch it from the hub, and describe it."""

from dataclasses import replace
from typing import Any

from gluscope.core.paths import RunPaths
from gluscope.core.size import Size
from gluscope.job import start
from gluscope.model.describe import describe


def main(smk: Any) -> None:
    """Write `smk.output[0]`, a ModelSpec as JSON; refuse neurons that were asked for and that the model lacks."""
    with start(smk, online=True) as job:
        model = smk.params.settings["model"]
        job.say(f"Looking at {model}")
        spec = describe(model, smk.params.settings["revision"])
        size = Size(spec.n_layers, spec.d_mlp)
        for page in smk.config.get("asked", {}).get(smk.wildcards.run, []):
            neuron = RunPaths(smk.wildcards.run).parse_page(page)
            size.refuse(page, neuron.layer, neuron.neuron)
        replace(spec, stages=smk.params.version).save(smk.output[0])
        job.say(
            f"{spec.architecture}, {spec.n_layers} layers of {spec.d_mlp} neurons, d_model {spec.d_model}, "
            f"revision {spec.revision}"
        )


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

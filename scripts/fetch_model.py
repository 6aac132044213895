"""Find the model of a run, or fetch it from the hub, and describe it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gluscope.core.paths import RunPaths
from gluscope.dataset.files import no_tokenizer
from gluscope.model.describe import describe
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`, a ModelSpec as JSON; refuse neurons that were asked for and that the model lacks."""
    with start(smk, online=True) as job:
        model = smk.params.settings["model"]
        job.say(f"Looking at {model}")
        spec = describe(model, smk.params.settings["revision"])
        asked = smk.config.get("asked", {}).get(smk.wildcards.run, [])
        for page in asked:
            neuron = RunPaths(smk.wildcards.run).parse_page(page)
            spec.size.refuse(page, neuron)
        if asked and not (Path(spec.folder) / "tokenizer.json").is_file():
            dataset = smk.config["runs"][smk.wildcards.run]["dataset"]
            if smk.config["datasets"][dataset].get("tokenizer") is None:
                raise no_tokenizer(dataset, spec.model)
        replace(spec, stages=smk.params.version).save(smk.output[0])
        job.say(
            f"{spec.architecture}, {spec.n_layers} layers of {spec.d_mlp} neurons, d_model {spec.d_model}, "
            f"revision {spec.revision}"
        )


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

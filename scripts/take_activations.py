"""Take a run's statistics from published activations, in place of a scan."""

from pathlib import Path
from typing import Any

from gluscope.core.paths import RunPaths
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.sources import Located, Sources
from gluscope.export.take import Taking, take_activations
from gluscope.model.spec import ModelSpec
from gluscope.weights.folded import signs_of
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write the summary whose last file is `smk.output[0]`, in the run's sign convention."""
    with start(smk) as job:
        spec, tokens = ModelSpec.read(smk.input.model), TokenDataset.open(Path(smk.input.tokens).parent).record
        sign = signs_of(spec)
        fetched = RunPaths(smk.wildcards.run).activations in smk.input.activations
        keys = smk.params.settings
        place = keys["activations"]
        located = Sources.read(smk.input.activations[0]).source if fetched else Located(place, place)
        convention = "refactored" if keys["refactor_glu"] else "raw"
        dtype = spec.number_format(keys["dtype"])
        taking = Taking(keys["k"], convention, dtype, keys["tf32"], smk.params.version)
        about = take_activations(located, spec, tokens, sign, taking, smk.output[0])
        job.say(f"{about['activations']['id']}, revision {about['activations']['revision']}, shown as {convention}")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

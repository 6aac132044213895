"""Take a run's statistics from published activations, in place of a scan."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from gluscope.core.paths import RunPaths
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.sources import Located, Sources
from gluscope.export.take import TakenSample, Taking, take_activations
from gluscope.model.spec import ModelSpec
from gluscope.weights.folded import signs_of
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write the summary whose last file is `smk.output[0]`, in the run's sign convention."""
    with start(smk) as job:
        spec, data = ModelSpec.read(smk.input.model), TokenDataset.open(Path(smk.input.tokens).parent)
        sign = signs_of(spec)
        keys, paths = smk.params.settings, RunPaths(smk.wildcards.run)
        located = _located(keys["activations"], paths.activations, smk.input.activations)
        sample = None
        if (place := keys.get("sampled_activations")) is not None:
            sample = TakenSample(_located(place, paths.sampled_activations, smk.input.sampled), data.lengths)
        convention = "refactored" if keys["refactor_glu"] else "raw"
        dtype = spec.number_format(keys["dtype"])
        taking = Taking(keys["k"], convention, dtype, keys["tf32"], smk.params.version)
        about = take_activations(located, spec, data.record, sign, taking, smk.output[0], sample)
        job.say(f"{about['activations']['id']}, revision {about['activations']['revision']}, shown as {convention}")


def _located(place: str, record: str, files: Collection[str]) -> Located:
    """Published data: at `place`, or where `record`, if it is among the files, says that they were put."""
    return Sources.read(record).source if record in files else Located(place, place)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

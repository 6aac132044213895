"""Take a run's statistics from published activations, in place of a scan."""

from pathlib import Path
from typing import Any

import numpy as np
from gluscope.core.paths import RunPaths
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.sources import Located, Sources
from gluscope.export.take import Taking, take_activations
from gluscope.job import start
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.weights.products import signs


def main(smk: Any) -> None:
    """Write the summary whose last file is `smk.output[0]`, in the run's sign convention."""
    with start(smk) as job:
        spec, tokens = ModelSpec.read(smk.input.model), TokenDataset.open(Path(smk.input.tokens).parent).record
        rows = WeightRows(spec)
        sign = np.stack([signs(rows.gate_matrix(layer), rows.in_matrix(layer)) for layer in range(spec.n_layers)])
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

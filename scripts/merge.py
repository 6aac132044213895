"""Join the statistics of all shards of a run."""

from typing import Any

import numpy as np
from gluscope.job import start
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.summary.shards import merge_shards
from gluscope.weights.products import signs


def main(smk: Any) -> None:
    """Write the summary whose last file is `smk.output[0]`, in the run's sign convention."""
    with start(smk) as job:
        spec = ModelSpec.read(smk.input.model)
        rows = WeightRows(spec)
        sign = np.stack([signs(rows.gate_matrix(layer), rows.in_matrix(layer)) for layer in range(spec.n_layers)])
        convention = "refactored" if smk.params.refactor_glu else "raw"
        settings = {**smk.params.settings, "model_revision": spec.revision}
        about = merge_shards(smk.input.scans, smk.output[0], sign=sign, convention=convention, settings=settings)
        job.say(f"{about['shards']} shards, {about['rows']:,} texts, {about['tokens']:,} tokens, {convention}")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

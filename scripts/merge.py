"""Join the statistics of all shards."""

from typing import Any

import numpy as np
from gluscope.core.provenance import versions
from gluscope.job import start
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.summary.shards import merge_shards
from gluscope.weights.products import signs


def main(smk: Any) -> None:
    """Write the summary whose last file is `smk.output[0]`, in the run's convention."""
    with start(smk) as job:
        spec = ModelSpec.read(smk.input.model)
        weights = WeightRows(spec)
        done = merge_shards(
            smk.input.scans,
            smk.output[0],
            sign=np.stack([signs(weights.gate_matrix(i), weights.in_matrix(i)) for i in range(spec.n_layers)]),
            convention="refactored" if smk.params.refactor_glu else "raw",
            attributes={"merge_code": smk.params.code, "merge_versions": versions("numpy")},
        )
        job.say(f"{done['shards']} shards, {done['rows']:,} texts, {done['tokens']:,} tokens")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

"""Join the statistics of all shards of a run."""

import functools
from pathlib import Path
from typing import Any

from gluscope.core.provenance import RunProvenance
from gluscope.dataset.plan import Plan
from gluscope.dataset.reader import TokenDataset
from gluscope.model.spec import ModelSpec
from gluscope.scan.sample import choose_sample
from gluscope.summary.file import SummaryReader
from gluscope.summary.shards import OF_DATASET, Whole, merge_shards
from gluscope.weights.folded import signs_of
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write the summary whose last file is `smk.output[0]`, in the run's sign convention."""
    with start(smk) as job:
        spec = ModelSpec.read(smk.input.model)
        sign = signs_of(spec)
        convention = "refactored" if smk.params.settings["refactor_glu"] else "raw"
        settings = {**smk.params.scanned_with, "model_revision": spec.revision}
        settings["dtype"] = spec.number_format(settings["dtype"])
        first = SummaryReader(smk.input.scans[0]).provenance
        merged = merge_shards(
            smk.input.scans,
            smk.output[0],
            sign=sign,
            convention=convention,
            attributes={"stages": {**first.stages, **smk.params.version}},
            settings=settings,
            whole=data_set(smk.input.tokens, smk.input.plan, first),
        )
        job.say(f"{merged['shards']} shards, {merged['rows']:,} texts, {merged['tokens']:,} tokens, {convention}")


def data_set(tokens: str, plan: str, provenance: RunProvenance) -> Whole:
    """The data set as it is now; which of its tokens are the sample follows from the settings that a shard names."""
    data, cut = TokenDataset.open(Path(tokens).parent), Plan.read(plan)
    cut.check_fits(data.lengths, str(data.folder))
    skipped = provenance.skipped_ids
    unsampled = functools.partial(data.is_one_of, skipped) if skipped else None
    return Whole(
        rows={shard.name: (shard.start, shard.stop - 1, shard.digest) for shard in cut.shards},
        plan=cut.base,
        sample=choose_sample(provenance.seed, data.lengths, provenance.samples, unsampled),
        attributes={key: value for key, value in data.record.attributes.items() if key in OF_DATASET},
    )


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

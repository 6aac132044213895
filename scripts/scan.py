"""Run the model over one shard."""

from pathlib import Path
from typing import Any

from gluscope.dataset.plan import Plan
from gluscope.dataset.reader import TokenDataset
from gluscope.model.spec import ModelSpec
from gluscope.scan.loop import ScanSettings, run_scan
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output.scan`, statistics of every neuron, and the cache of `smk.output.cache` if it has one."""
    with start(smk) as job:
        cache = getattr(smk.output, "cache", None)
        here = {"device": smk.resources.device, "batch_tokens": smk.resources.batch_tokens}
        settings = ScanSettings(**{"cache_dtype": None, **smk.params.settings, **here})
        spec, tokens = ModelSpec.read(smk.input.model), Path(smk.input.tokens).parent
        beyond = spec.beyond(TokenDataset.open(tokens).lengths)
        if beyond:
            job.say(beyond)
        done = run_scan(
            spec,
            tokens,
            Plan.read(smk.input.plan),
            smk.wildcards.shard,
            settings,
            smk.output.scan,
            Path(cache).parent if cache else None,
            {"stages": smk.params.version},
        )
        halved = f"; {done.halved} batches halved for want of memory" if done.halved else ""
        job.say(f"{done.tokens:,} tokens in {done.seconds:.0f} s, statistics by {done.reducer}{halved}")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

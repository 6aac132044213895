"""Share out the rows of a token data set among shards."""

from pathlib import Path
from typing import Any

from gluscope.dataset.plan import make_plan
from gluscope.dataset.reader import TokenDataset
from gluscope.job import start
from gluscope.store.atomic import new_file


def main(smk: Any) -> None:
    """Write `smk.output[0]`, the plan of `smk.wildcards.shards` shards."""
    with start(smk) as job:
        tokens = TokenDataset.open(Path(smk.input[0]).parent)
        plan = make_plan(tokens.lengths, int(smk.wildcards.shards), tokens.record.fingerprint)
        with new_file(smk.output[0]) as part:
            plan.save(part)
        sizes = [shard.tokens for shard in plan.shards]
        job.say(f"{len(sizes)} shards of {min(sizes)} to {max(sizes)} tokens")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

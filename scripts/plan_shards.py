"""Share out the rows of a run's token data set among its shards."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gluscope.core.errors import StoreError
from gluscope.dataset.plan import Plan, make_plan
from gluscope.dataset.reader import TokenDataset
from gluscope.model.spec import ModelSpec
from gluscope.store.atomic import new_file
from gluscope.workflow.forecast import asked_in, of_plan
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`, the plan of as many shards as the settings say; the one that is there is carried on."""
    with start(smk) as job:
        data = TokenDataset.open(Path(smk.input.tokens).parent)
        before = plan_so_far(smk.output[0])
        plan = make_plan(data, smk.params.settings["shards"], before)
        if asked := asked_in(smk.config, smk.wildcards.run):
            of_plan(asked, ModelSpec.read(smk.input.model), plan, before, job.say)
        with new_file(smk.output[0]) as part:
            replace(plan, stages=smk.params.version).save(part)
        sizes = [shard.tokens for shard in plan.shards]
        kept = len(set(before.shards) & set(plan.shards)) if before and before.base == plan.base else 0
        job.say(f"{len(sizes)} shards of {min(sizes):,} to {max(sizes):,} tokens, {kept} of them as before")


def plan_so_far(path: str) -> Plan | None:
    """The plan that is there, if any; one that cannot be read is made anew."""
    try:
        return Plan.read(path)
    except StoreError:
        return None


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

"""Run the model over one shard again, for the pages of the listed neurons."""

from pathlib import Path
from typing import Any

from gluscope.core.ranges import from_ranges
from gluscope.dataset.plan import Plan
from gluscope.model.spec import ModelSpec
from gluscope.replay.stage import run_replay
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`: gate and in of the settings' neurons where their pages show them."""
    with start(smk) as job:
        done = run_replay(
            ModelSpec.read(smk.input.model),
            Path(smk.input.tokens).parent,
            Plan.read(smk.input.plan),
            smk.wildcards.shard,
            smk.input.summary,
            {int(layer): from_ranges(neurons) for layer, neurons in smk.params.settings["neurons"].items()},
            smk.output[0],
            device=smk.resources.device,
            batch_tokens=smk.resources.batch_tokens,
            attributes={"stages": smk.params.version, "settings": smk.params.settings},
        )
        job.say(f"{done.rows:,} texts, {done.tokens:,} tokens, {done.pairs:,} neurons' texts kept")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

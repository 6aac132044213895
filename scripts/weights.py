"""What the weights of every neuron say by themselves."""

from typing import Any

from gluscope.model.spec import ModelSpec
from gluscope.weights.stage import run_weights
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write the weight statistics whose last file is `smk.output[0]`."""
    with start(smk) as job:
        run_weights(ModelSpec.read(smk.input[0]), smk.output[0], attributes={"stages": smk.params.version}, say=job.say)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

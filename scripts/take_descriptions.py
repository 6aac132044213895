"""What others say of a run's neurons."""

from typing import Any

from gluscope.core.errors import ConfigError
from gluscope.descriptions.read import read_descriptions
from gluscope.model.spec import ModelSpec
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`. Raises ConfigError for a run without `descriptions`."""
    with start(smk) as job:
        place = smk.params.settings.get("descriptions")
        if place is None:
            step = "set it in your config file"
            raise ConfigError(smk.output[0], f"`descriptions` in the run {smk.wildcards.run}", "none", step)
        convention = "refactored" if smk.params.settings["refactor_glu"] else "raw"
        taken = read_descriptions(place, ModelSpec.read(smk.input.model).size, convention)
        taken.save(smk.output[0])
        whose = f" of {taken.model}" if taken.model else ""
        job.say(f"{taken.count:,} descriptions of {taken.neurons:,} neurons{whose} from {taken.source}")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

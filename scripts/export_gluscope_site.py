"""The listed neurons of a run as a folder of the GLUScope site."""

from pathlib import Path
from typing import Any

from gluscope.export.site_folder import title, write_site
from gluscope.page.results import RunResults
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write the folder of `smk.output[0]`."""
    with start(smk) as job:
        results = RunResults.open(smk.wildcards.run, smk.input)
        model = title(results.provenance, results.run)
        folder = Path(smk.output[0]).parent
        written = write_site(folder, model, results.neurons(smk.params.settings["neurons"]))
        job.say(f"{written} neurons in {folder / model}")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

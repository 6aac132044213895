"""The page of two neurons side by side."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.page.pair import render_pair
from gluscope.page.record import NeuronPage
from gluscope.page.results import RunResults
from gluscope.store.atomic import new_file
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`. `smk.wildcards`: a run and its neuron, the other run, the other neuron if it is one."""
    with start(smk):
        names = smk.wildcards
        other = getattr(names, "other", names.neuron)
        pages = [record(smk.input, names.run, names.neuron, ""), record(smk.input, names.reference, other, "other_")]
        folder = Path(smk.output[0]).parent
        sites = [os.path.relpath(RunPaths(page.run).page(page.id), folder) for page in pages]
        with new_file(smk.output[0]) as part:
            part.write_text(render_pair(pages[0], pages[1], sites), encoding="utf-8", newline="\n")


def record(files: Any, run: str, neuron: str, prefix: str) -> NeuronPage:
    """One of the two. prefix: of its files' names among the inputs."""
    own = SimpleNamespace(**{name: getattr(files, prefix + name) for name in ("model", "tokens", "summary", "weights")})
    return RunResults.open(run, own).neuron(NeuronId.parse(neuron))


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

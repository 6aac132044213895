"""The pages of one neuron, or of a batch of neurons of a layer."""

from typing import Any

from gluscope.core.freshness import is_fresh
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.core.ranges import from_ranges
from gluscope.model.spec import ModelSpec
from gluscope.page.render import TYPED, render_page
from gluscope.page.results import RunResults
from gluscope.store.atomic import new_file
from gluscope.workflow.job import start
from gluscope.workflow.submitted import own_config


def main(smk: Any) -> None:
    """Write the page of the neuron that `smk.wildcards` name, or of `smk.params.neurons` where it is not fresh."""
    with start(smk) as job:
        pages = wanted(smk)
        results, options = RunResults.open(smk.wildcards.run, smk.input), own_config(smk.config.get("configfiles", []))
        for neuron, path in pages.items():
            page = results.neuron(neuron, f"{TYPED} {path}{options}")
            with new_file(path) as part:
                part.write_text(render_page(page), encoding="utf-8", newline="\n")
        job.say(f"{len(pages)} page{'' if len(pages) == 1 else 's'}")


def wanted(smk: Any) -> dict[NeuronId, str]:
    """The file of each page that is to be made."""
    if hasattr(smk.wildcards, "neuron"):
        return {NeuronId.parse(smk.wildcards.neuron): smk.output[0]}
    paths, effects, words = RunPaths(smk.wildcards.run), list(smk.input.effect), list(smk.input.explanation)
    shared = [file for file in smk.input if file not in (smk.input.neurons, *effects, *words)]

    def made_from(neuron: NeuronId) -> list[str]:
        own = [paths.neuron(neuron)] + [paths.effect(neuron)] * bool(effects)
        return [*shared, *own] + [paths.explanation(neuron)] * bool(words)

    size, layer = ModelSpec.read(smk.input.model).size, int(smk.wildcards.layer)
    files = {(neuron := size.neuron(layer, n)): paths.page(neuron) for n in from_ranges(smk.params.neurons)}
    return {neuron: file for neuron, file in files.items() if not is_fresh(file, made_from(neuron))}


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

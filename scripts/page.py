"""The pages of one neuron, or of a batch of neurons of a layer."""

from collections.abc import Callable
from typing import Any

from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.model.spec import ModelSpec
from gluscope.page.render import TYPED, render_page
from gluscope.page.results import RunResults
from gluscope.store.atomic import new_file
from gluscope.workflow.job import start
from gluscope.workflow.of_neurons import inputs_but, wanted
from gluscope.workflow.submitted import own_config


def main(smk: Any) -> None:
    """Write the page of the neuron that `smk.wildcards` name, or of `smk.params.neurons` where it is not fresh."""
    with start(smk) as job:
        size, page_of = ModelSpec.read(smk.input.model).size, RunPaths(smk.wildcards.run).page
        pages = wanted(smk, size, page_of, made_from(smk))
        results, options = RunResults.open(smk.wildcards.run, smk.input), own_config(smk.config.get("configfiles", []))
        for neuron, path in pages.items():
            page = results.neuron(neuron, f"{TYPED} {path}{options}")
            with new_file(path) as part:
                part.write_text(render_page(page), encoding="utf-8", newline="\n")
        job.say(f"{len(pages)} page{'' if len(pages) == 1 else 's'}")


def made_from(smk: Any) -> Callable[[NeuronId], list[str]]:
    """What a neuron's page is made from: of what stands for many neurons' files its own."""
    paths = RunPaths(smk.wildcards.run)
    shared = inputs_but(smk, "neurons", "effect", "explanation")
    effects, words = bool(smk.input.effect), bool(smk.input.explanation)

    def files(neuron: NeuronId) -> list[str]:
        own = [paths.neuron(neuron)] + [paths.effect(neuron)] * effects
        return [*shared, *own] + [paths.explanation(neuron)] * words

    return files


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

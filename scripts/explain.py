"""Words for the sign cases of one neuron, or of all listed neurons of a run, from a language model."""

from typing import Any

import numpy as np
from gluscope.core.freshness import is_fresh
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.core.ranges import from_ranges
from gluscope.core.size import Size
from gluscope.dataset.special import tokenizer_folder
from gluscope.explain.examples import Split
from gluscope.explain.questions import Questions
from gluscope.explain.source import Source
from gluscope.explain.stage import explain_neurons
from gluscope.page.tokens import TokenTexts
from gluscope.workflow.job import start
from gluscope.workflow.language_model import language_model


def main(smk: Any) -> None:
    """Write the explanation of the neuron that `smk.wildcards` name, or of `smk.params.neurons` where not fresh."""
    with start(smk) as job, language_model(smk) as (asker, prompts, at_once):
        given, most = smk.input, smk.params.settings["explain"]["texts"]
        source = Source.open(given.model, given.summary, given.tokens, RunPaths(smk.wildcards.run).neuron)
        texts = TokenTexts.read(tokenizer_folder(given.tokens, source.spec.folder))

        def shown(ids: np.ndarray) -> list[str]:
            return [token.text for token in texts.tokens(ids.tolist())]

        split = Split(train=most, test=most, others=most)
        outputs = wanted(smk, source.spec.size)
        explain_neurons(source, outputs, Questions(asker, prompts, shown), split, at_once, job.say)


def wanted(smk: Any, size: Size) -> dict[NeuronId, str]:
    """The file of each neuron that is to be explained."""
    if hasattr(smk.wildcards, "neuron"):
        return {NeuronId.parse(smk.wildcards.neuron): smk.output[0]}
    paths = RunPaths(smk.wildcards.run)
    shared = [file for file in smk.input if file not in smk.input.neurons]
    neurons = [size.neuron(int(layer), n) for layer, places in smk.params.neurons.items() for n in from_ranges(places)]
    files = {neuron: paths.explanation(neuron) for neuron in neurons}
    return {neuron: file for neuron, file in files.items() if not is_fresh(file, [*shared, paths.neuron(neuron)])}


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

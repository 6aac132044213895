"""Words for the sign cases of one neuron, or of all listed neurons of a run, from a language model."""

from typing import Any

import numpy as np
from gluscope.core.paths import RunPaths
from gluscope.dataset.special import tokenizer_folder
from gluscope.explain.examples import Split
from gluscope.explain.questions import Questions
from gluscope.explain.source import Source
from gluscope.explain.stage import explain_neurons
from gluscope.page.tokens import TokenTexts
from gluscope.workflow.job import start
from gluscope.workflow.language_model import language_model
from gluscope.workflow.of_neurons import inputs_but, wanted


def main(smk: Any) -> None:
    """Write the explanation of the neuron that `smk.wildcards` name, or of `smk.params.neurons` where not fresh."""
    with start(smk) as job, language_model(smk) as (asker, prompts, at_once):
        given, most = smk.input, smk.params.settings["explain"]["texts"]
        paths = RunPaths(smk.wildcards.run)
        source = Source.open(given.model, given.summary, given.tokens, paths.neuron)
        texts = TokenTexts.read(tokenizer_folder(given.tokens, source.spec.folder))

        def shown(ids: np.ndarray) -> list[str]:
            return [token.text for token in texts.tokens(ids.tolist())]

        split = Split(train=most, test=most, others=most)
        shared = inputs_but(smk, "neurons")
        outputs = wanted(smk, source.spec.size, paths.explanation, lambda neuron: [*shared, paths.neuron(neuron)])
        explain_neurons(source, outputs, Questions(asker, prompts, shown), split, at_once, job.say)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

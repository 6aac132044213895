"""Examples of the listed neurons for programs that explain and score."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gluscope.core.cases import CASES
from gluscope.core.convention import view
from gluscope.core.paths import RunPaths
from gluscope.core.ranges import from_ranges
from gluscope.dataset.special import tokenizer_folder
from gluscope.descriptions.types import Descriptions
from gluscope.explain.examples import Split
from gluscope.explain.source import Source
from gluscope.export.explainers import ExplainedNeuron, read_as_text, write_explainers
from gluscope.page.tokens import TokenTexts
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write the folder of `smk.output[0]`."""
    with start(smk) as job:
        given, listed = smk.input, smk.params.settings["neurons"]
        source = Source.open(given.model, given.summary, given.tokens, RunPaths(smk.wildcards.run).neuron)
        described = Descriptions.read(given.descriptions[0]) if given.descriptions else Descriptions.build({})
        texts = read_as_text(TokenTexts.read(tokenizer_folder(given.tokens, source.spec.folder)))
        count = write_explainers(Path(smk.output[0]).parent, neurons(source, described, listed), texts)
        job.say(f"{count} windows in {smk.output[0]}")


def neurons(source: Source, described: Descriptions, listed: dict[str, str]) -> Iterator[ExplainedNeuron]:
    """The listed neurons in the run's convention. listed: ranges of places by layer."""
    convention, signs = source.summary.provenance.convention, source.summary.sign()
    tokens = max(1, source.summary.provenance.tokens)
    for layer in sorted(map(int, listed)):
        for place in sorted(from_ranges(listed[str(layer)])):
            neuron, count = source.spec.size.neuron(layer, place), source.summary.neuron(layer, place).count[0]
            said = [view(one, signs[layer][place], one.convention, convention) for one in described.of(layer, place)]
            yield ExplainedNeuron(
                neuron,
                source.examples(neuron, Split(), convention),
                {case: int(count[case.index]) / tokens for case in CASES},
                {case: one.words for one in reversed(said) for case in one.cases},
            )


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

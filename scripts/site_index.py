"""The start page of a run's site, with a finder over all neurons."""

from pathlib import Path
from typing import Any

from gluscope.core.paths import RunPaths
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.special import tokenizer_folder
from gluscope.effect.types import Effect
from gluscope.model.spec import ModelSpec
from gluscope.page.finder import write_finder
from gluscope.page.site import index_of, read_cards, write_index
from gluscope.page.tokens import TokenTexts
from gluscope.summary.file import SummaryReader
from gluscope.weights.file import WeightsReader
from gluscope.workflow.job import start
from gluscope.workflow.of_neurons import of_neurons
from gluscope.workflow.submitted import own_config


def main(smk: Any) -> None:
    """Write `smk.output[0]`, with all pages that exist, and the finder's data beside it."""
    with start(smk) as job:
        spec, reader = ModelSpec.read(smk.input.model), SummaryReader(smk.input.summary)
        provenance = reader.provenance
        summaries = enumerate(reader.layers(samples=False))
        weights = WeightsReader.of_run(smk.input.weights, provenance)
        finder = write_finder(
            RunPaths(smk.wildcards.run).site,
            ((summary, weights.layer(layer)) for layer, summary in summaries),
            tokens=provenance.tokens,
            convention=provenance.convention,
            dataset=TokenDataset.open(Path(smk.input.tokens).parent),
            texts=TokenTexts.read(tokenizer_folder(smk.input.tokens, spec.folder)),
            effects=measured(smk) if smk.input.effects else None,
        )
        cards = read_cards(smk.wildcards.run)
        own = own_config(smk.config.get("configfiles", []))
        html = index_of(smk.wildcards.run, spec, provenance, cards, finder, own)
        write_index(smk.output[0], html)
        job.say(
            f"{len(cards)} page{'' if len(cards) == 1 else 's'} in {smk.output[0]}, {finder['rows']} neurons to find"
        )


def measured(smk: Any) -> dict[int, dict[int, float]]:
    """How much each measured neuron moves predictions, by layer and place."""
    found = of_neurons(smk, "effect", Effect, "npz")
    return {
        layer: {place: one.largest for place, one in own.items() if one.largest is not None}
        for layer, own in found.items()
    }


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

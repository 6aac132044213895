"""The pages of one neuron, or of a batch of neurons of a layer."""

from pathlib import Path
from typing import Any

from gluscope.core.activation import act
from gluscope.core.freshness import is_fresh
from gluscope.core.paths import NeuronId, RunPaths
from gluscope.core.ranges import from_ranges
from gluscope.dataset.reader import TokenDataset
from gluscope.job import start
from gluscope.model.spec import ModelSpec
from gluscope.page.build import build_page
from gluscope.page.command import own_config
from gluscope.page.record import Provenance
from gluscope.page.render import render_page
from gluscope.page.tokens import TokenTexts, tokenizer_folder
from gluscope.recompute.positions import with_positions
from gluscope.recompute.types import Recomputed
from gluscope.store.atomic import new_file
from gluscope.store.summary import read_attributes, read_neuron, read_sample
from gluscope.store.weights import read_neuron_weights


def main(smk: Any) -> None:
    """Write the page of the neuron that `smk.wildcards` name, or of `smk.params.neurons` where it is not fresh."""
    with start(smk) as job:
        pages = wanted(smk)
        spec = ModelSpec.read(smk.input.model)
        about, sample = read_attributes(smk.input.summary), read_sample(smk.input.summary)
        dataset = TokenDataset.open(Path(smk.input.tokens).parent)
        texts = TokenTexts.read(tokenizer_folder(smk.input.tokenizer, spec.folder))
        paths = RunPaths(smk.wildcards.run)
        for neuron, path in pages.items():
            weights = read_neuron_weights(smk.input.weights, neuron.layer, neuron.neuron)
            recomputed = Recomputed.read(paths.neuron(neuron.layer, neuron.neuron))
            summary = read_neuron(smk.input.summary, neuron.layer, neuron.neuron)
            flip = about["convention"] == "refactored" and weights.sign < 0
            page = build_page(
                run=smk.wildcards.run,
                neuron=neuron,
                summary=with_positions(summary, recomputed, act(spec.act_fn), flip),
                sample=sample,
                recomputed=recomputed,
                dataset=dataset,
                texts=texts,
                act_fn=spec.act_fn,
                convention=about["convention"],
                sign=weights.sign,
                tokens=about["tokens"],
                provenance=provenance(about, path + own_config(smk.config)),
                weights=weights,
            )
            with new_file(path) as part:
                part.write_text(render_page(page), encoding="utf-8", newline="\n")
        job.say(f"{len(pages)} pages")


def wanted(smk: Any) -> dict[NeuronId, str]:
    """The file of each page that is to be made."""
    layer = int(smk.wildcards.layer)
    if hasattr(smk.wildcards, "neuron"):
        return {NeuronId(layer, int(smk.wildcards.neuron)): smk.output[0]}
    paths, shared = RunPaths(smk.wildcards.run), [file for file in smk.input if file != smk.input.neurons]
    files = {NeuronId(layer, neuron): paths.page(layer, neuron) for neuron in from_ranges(smk.params.neurons)}
    return {
        neuron: file
        for neuron, file in files.items()
        if not is_fresh(file, [*shared, paths.neuron(layer, neuron.neuron)])
    }


def provenance(about: dict[str, Any], path: str) -> Provenance:
    """What the summary's attributes say of the numbers' origin. path: the page, and options that it needs."""
    return Provenance(
        model=about["model"],
        model_revision=about["model_revision"],
        dataset=about["dataset"],
        dataset_revision=about["dataset_revision"],
        examples=about["rows"],
        dtype="" if "activations" in about else about["dtype"],
        cache_dtype=about.get("cache_dtype", ""),
        versions=about["versions"],
        command=f"snakemake --cores 2 {path}",
        note=about.get("note", ""),
    )


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821

"""Listed neurons of a run as pages' records, one after another, for exports that show texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gluscope.core.activation import act
from gluscope.core.paths import NeuronId, RunPaths
from gluscope.core.ranges import from_ranges
from gluscope.dataset.reader import TokenDataset
from gluscope.model.spec import ModelSpec
from gluscope.page.build import build_page
from gluscope.page.record import NeuronPage, Provenance
from gluscope.page.tokens import TokenTexts, tokenizer_folder
from gluscope.recompute.positions import with_positions
from gluscope.recompute.types import Recomputed
from gluscope.store.summary import SummaryReader
from gluscope.store.weights import read_neuron_weights


@dataclass(frozen=True)
class RunResults:
    """What a run has, opened. about: the attributes of its summary."""

    run: str
    spec: ModelSpec
    dataset: TokenDataset
    texts: TokenTexts
    summary: SummaryReader
    weights: str

    @classmethod
    def open(
        cls, run: str, *, model: str, tokens: str, tokenizer: Sequence[str], summary: str, weights: str
    ) -> RunResults:
        """All are files of the run; tokenizer: what leads to it, see `tokenizer_folder`."""
        spec = ModelSpec.read(model)
        texts = TokenTexts.read(tokenizer_folder(tokenizer, spec.folder))
        return cls(run, spec, TokenDataset.open(Path(tokens).parent), texts, SummaryReader(summary), weights)

    @property
    def about(self) -> dict[str, Any]:
        return self.summary.attributes

    def neurons(self, listed: Mapping[str, str]) -> Iterator[NeuronPage]:
        """Records, in the run's convention, of neurons given as ranges by layer; sorted by layer and neuron."""
        for layer in sorted(map(int, listed)):
            for neuron in sorted(from_ranges(listed[str(layer)])):
                yield self.neuron(NeuronId(layer, neuron))

    def neuron(self, neuron: NeuronId) -> NeuronPage:
        """The record of one neuron. Raises StoreError where its recomputed values are missing or of other texts."""
        about, place = self.about, (neuron.layer, neuron.neuron)
        weights = read_neuron_weights(self.weights, *place)
        recomputed = Recomputed.read(RunPaths(self.run).neuron(*place))
        flip = about["convention"] == "refactored" and weights.sign < 0
        summary = with_positions(self.summary.neuron(*place), recomputed, act(self.spec.act_fn), flip)
        return build_page(
            run=self.run,
            neuron=neuron,
            summary=summary,
            sample=self.summary.sample(),
            recomputed=recomputed,
            dataset=self.dataset,
            texts=self.texts,
            act_fn=self.spec.act_fn,
            convention=about["convention"],
            sign=weights.sign,
            tokens=about["tokens"],
            provenance=Provenance(model=about["model"], dataset=about["dataset"]),
            weights=weights,
        )

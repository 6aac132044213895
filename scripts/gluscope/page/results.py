"""What a run has, opened once, and the records of its neurons: for pages, and for exports that show texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.activation import act
from gluscope.core.convention import view
from gluscope.core.names import public_name
from gluscope.core.neuron import NeuronId, is_routed
from gluscope.core.paths import RunPaths
from gluscope.core.provenance import RunProvenance
from gluscope.core.ranges import from_ranges
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.special import tokenizer_folder
from gluscope.descriptions.types import Descriptions
from gluscope.effect.types import Effect
from gluscope.explain.types import Explanation
from gluscope.model.spec import ModelSpec
from gluscope.page.build import build_page, contexts_of
from gluscope.page.contexts import Contexts
from gluscope.page.descriptions_view import DescriptionsView, descriptions_view
from gluscope.page.example_texts import ExampleTexts
from gluscope.page.record import NeuronPage, PageProvenance
from gluscope.page.tokens import TokenTexts
from gluscope.recompute.positions import with_positions
from gluscope.recompute.types import Recomputed
from gluscope.summary.file import SummaryReader
from gluscope.summary.types import SampleTokens
from gluscope.weights.file import WeightsReader


@dataclass(frozen=True)
class RunResults:
    """The results of a run.

    weights: the path of its weight statistics. with_effect: neurons have measured effects. with_words: a language model
    has put them into words. described: the path of what others say of them; none for a run without.
    """

    run: str
    spec: ModelSpec
    dataset: TokenDataset
    texts: TokenTexts
    summary: SummaryReader
    sample: SampleTokens
    weights: str
    with_effect: bool = False
    with_words: bool = False
    described: str | None = None

    @classmethod
    def open(cls, run: str, files: Any) -> RunResults:
        """files: has the run's `model`, `tokens`, `summary`, `weights`, and `effect`, `explanation` where these are to
        be shown, `descriptions` if the run has some."""
        spec, summary = ModelSpec.read(files.model), SummaryReader(files.summary)
        texts = TokenTexts.read(tokenizer_folder(files.tokens, spec.folder), summary.provenance.skipped_ids)
        dataset = TokenDataset.open(Path(files.tokens).parent)
        effect, words = (bool(getattr(files, name, ())) for name in ("effect", "explanation"))
        described = next(iter(getattr(files, "descriptions", ())), None)
        return cls(run, spec, dataset, texts, summary, summary.sample(), files.weights, effect, words, described)

    @cached_property
    def contexts(self) -> Contexts:
        """The tokens around the sampled ones."""
        return contexts_of(self.sample, self.dataset, self.texts)

    @cached_property
    def descriptions(self) -> Descriptions | None:
        """What others say of the run's neurons; None for a run without."""
        return Descriptions.read(self.described) if self.described else None

    @cached_property
    def example_texts(self) -> ExampleTexts:
        """Texts of the data set as pages show them."""
        return ExampleTexts(self.dataset, self.texts)

    @property
    def provenance(self) -> RunProvenance:
        """What the summary says of the run."""
        return self.summary.provenance

    def neurons(self, listed: Mapping[str, str]) -> Iterator[NeuronPage]:
        """Records, in the run's convention, of neurons given as ranges of places by layer; sorted."""
        for layer in sorted(map(int, listed)):
            for neuron in sorted(from_ranges(listed[str(layer)])):
                yield self.neuron(self.spec.size.neuron(layer, neuron))

    def neuron(
        self,
        neuron: NeuronId,
        command: str = "",
        recomputed: Recomputed | None = None,
        effect: Effect | None = None,
        explained: Explanation | None = None,
    ) -> NeuronPage:
        """The record of one neuron. command: what makes its page. recomputed, effect, explained: by default as stored.

        Raises StoreError where its recomputed values are missing, damaged or of other texts.
        """
        paths, provenance, place = RunPaths(self.run), self.provenance, (neuron.layer, self.spec.size.place(neuron))
        weights = WeightsReader.of_run(self.weights, provenance).neuron(*place)
        recomputed = recomputed or Recomputed.read(paths.neuron(neuron), neuron)
        if self.with_effect and effect is None:
            effect = Effect.read(paths.effect(neuron), neuron)
        if self.with_words and explained is None:
            explained = Explanation.read(paths.explanation(neuron), neuron)
        in_convention = view(recomputed, weights.sign, "raw", provenance.convention)
        return build_page(
            run=self.run,
            neuron=neuron,
            summary=with_positions(self.summary.neuron(*place), in_convention, act(self.spec.act_fn)),
            sample=self.sample,
            contexts=self.contexts,
            example_texts=self.example_texts,
            recomputed=recomputed,
            texts=self.texts,
            act_fn=self.spec.act_fn,
            convention=provenance.convention,
            sign=weights.sign,
            tokens=provenance.tokens,
            provenance=self._provenance(command),
            weights=weights,
            reached=self._reached(neuron),
            size=self.spec.size if self.spec.mixture else None,
            effect=effect,
            explained=explained,
            descriptions=self._said(*place, weights.sign),
        )

    def _said(self, layer: int, place: int, sign: int) -> DescriptionsView | None:
        """What others say of a neuron, for its page; None where nobody says anything."""
        known = self.descriptions
        said = known.of(layer, place) if known else ()
        return descriptions_view(known, said, sign, self.provenance.convention) if known and said else None

    def _reached(self, neuron: NeuronId) -> int | None:
        """Tokens that the router sent to the neuron's expert; None for one of no routed expert."""
        if not is_routed(neuron.expert) or self.routed is None:
            return None
        return int(self.routed[neuron.layer, int(neuron.expert[1:])])

    @cached_property
    def routed(self) -> np.ndarray | None:
        """int64 [layer, expert], see `SummaryReader.routed`."""
        return self.summary.routed()

    def _provenance(self, command: str) -> PageProvenance:
        provenance = self.provenance
        return PageProvenance(
            model=public_name(provenance.model),
            model_revision=provenance.model_revision,
            dataset=public_name(provenance.dataset),
            dataset_revision=provenance.dataset_revision,
            examples=provenance.rows,
            dtype="" if provenance.activations else provenance.forward_format,
            device=provenance.device,
            reducer=provenance.reducer,
            cache_dtype=provenance.cache_dtype,
            versions=dict(provenance.versions),
            command=command,
            skipped=skipped_words(provenance),
            note=provenance.note,
        )


def skipped_words(provenance: RunProvenance) -> str:
    """How many tokens a run skips, and which; empty where it skips none. provenance: of its summary."""
    names = ", ".join(map(str, provenance.skip_tokens))
    return f"{provenance.skipped:,} ({names})" if names else ""

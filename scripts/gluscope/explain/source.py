"""The examples of a run's neurons, from its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gluscope.core.activation import act
from gluscope.core.cases import SignCase
from gluscope.core.convention import view
from gluscope.core.neuron import NeuronId
from gluscope.dataset.reader import TokenDataset
from gluscope.explain.examples import CaseExamples, Split, examples_of
from gluscope.model.spec import ModelSpec
from gluscope.recompute.positions import with_positions
from gluscope.recompute.types import Recomputed
from gluscope.summary.file import SummaryReader


@dataclass(frozen=True)
class Source:
    """Results of a run, opened. recomputed: the file of a neuron's recomputed values."""

    spec: ModelSpec
    summary: SummaryReader
    dataset: TokenDataset
    recomputed: Callable[[NeuronId], str]

    @classmethod
    def open(cls, model: str, summary: str | Path, tokens: str | Path, recomputed: Callable[[NeuronId], str]) -> Source:
        """model: the model's description; tokens: the file that stands for the token data set."""
        dataset = TokenDataset.open(Path(tokens).parent)
        return cls(ModelSpec.read(model), SummaryReader(summary), dataset, recomputed)

    def examples(self, neuron: NeuronId, split: Split, convention: str = "raw") -> dict[SignCase, CaseExamples]:
        """A neuron's examples by the cases of a convention.

        Raises StoreError where its recomputed values are missing, damaged or of another neuron.
        """
        provenance, place = self.summary.provenance, self.spec.size.place(neuron)
        sign, function = int(self.summary.sign()[neuron.layer][place]), act(self.spec.act_fn)
        found = view(Recomputed.read(self.recomputed(neuron), neuron), sign, "raw", convention)
        part = view(self.summary.neuron(neuron.layer, place), [sign], provenance.convention, convention)  # type: ignore[arg-type]
        part = with_positions(part, found, function)
        return examples_of(part, found, self.dataset.input_ids, function, split, provenance.skipped_ids)

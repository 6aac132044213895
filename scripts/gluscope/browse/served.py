"""What a live site is of: a run's files, by the names that the workflow gives them, and what pages are made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gluscope.core.errors import StoreError
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.page.render import TYPED
from gluscope.recompute.types import Source
from gluscope.stages.made import version_text
from gluscope.workflow.flow import Flow

STAGES = ("recompute", "page")  # that make a page from a run's results


@dataclass(frozen=True)
class Served:
    """model, tokens, summary, weights, tokenizer, descriptions: inputs of a page, as the rule `page` has them.

    kept: the caches or replays of all shards. source, device, batch_tokens: as in `recompute.stage.Origin`. listed: for
    pages from a replay the places of the neurons that it holds, by layer; None where any neuron's page can be made.
    versions: by stage, what versions/STAGE.json says while the config stays as it is. options: of the command that
    makes a page. measures, explains: whether the run measures effects, and has words for its neurons.
    """

    run: str
    model: str
    tokens: str
    summary: str
    weights: str
    tokenizer: Sequence[str]
    descriptions: Sequence[str]
    kept: Sequence[str]
    source: Source
    device: str
    batch_tokens: int
    listed: Mapping[int, Sequence[int]] | None
    versions: Mapping[str, str]
    options: str = ""
    measures: bool = False
    explains: bool = False

    @classmethod
    def of(cls, flow: Flow, run: str, options: str) -> Served:
        """Raises ConfigError for a run that the config does not have."""
        keys, paths = flow.run(run), RunPaths(run)
        settings: dict[str, Any] = {stage: flow.settings(stage, run) for stage in STAGES}
        return cls(
            run=run,
            model=paths.model,
            tokens=flow.tokens(run),
            summary=paths.summary,
            weights=paths.weights,
            tokenizer=flow.tokenizer_of_pages(run),
            descriptions=flow.taken_descriptions(run),
            kept=flow.kept_for_pages(run),
            source=keys.pages_source,
            device=keys.device,
            batch_tokens=keys.batch_tokens,
            listed=flow.listed(run) if keys.pages_source == "replay" else None,
            versions={stage: version_text(flow.version(stage), settings[stage]) for stage in STAGES},
            options=options,
            measures=flow.measures(run),
            explains=keys.explain is not None,
        )

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.run)

    def check(self) -> None:
        """Raises StoreError where the run has no site yet."""
        for file in (self.model, self.tokens, self.summary, self.weights, *self.descriptions, self.paths.index):
            if not Path(file).is_file():
                step = f"{TYPED} {self.paths.index}{self.options}, then the same command again"
                raise StoreError(file, f"the results of run {self.run}", "no such file", step)

    def command(self, neuron: NeuronId) -> str:
        """What makes a neuron's page without a server."""
        return f"{TYPED} {self.page(neuron)}{self.options}"

    def page(self, neuron: NeuronId) -> str:
        return self.paths.page(neuron)

    def values(self, neuron: NeuronId) -> str:
        """The file of the recomputed values."""
        return self.paths.neuron(neuron)

    def found_besides(self, neuron: NeuronId) -> dict[str, str]:
        """The files of the measured effect and of the words, by stage, if the run has such."""
        found = {"effect": self.paths.effect(neuron)} if self.measures else {}
        return found | ({"explain": self.paths.explanation(neuron)} if self.explains else {})

    def holds(self, layer: int, place: int) -> bool:
        """Whether the workflow makes the page of the neuron at a place of a layer, as the config is."""
        return self.listed is None or place in self.listed.get(layer, ())

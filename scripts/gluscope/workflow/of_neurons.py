"""What a stage has made of each neuron so far, listed or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from gluscope.core.freshness import is_fresh
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.model.spec import ModelSpec


class OfNeuron(Protocol):
    """What is kept in a file a neuron."""

    @property
    def id(self) -> NeuronId: ...

    @classmethod
    def read(cls, path: str | Path, neuron: NeuronId | None = None) -> Self: ...


_Found = TypeVar("_Found", bound=OfNeuron)


def of_neurons(smk: Any, stage: str, kind: type[_Found], ending: str) -> dict[int, dict[int, _Found]]:
    """By layer and place, what is not older than the job's summary and weights and has the stage's version."""
    paths = RunPaths(smk.wildcards.run)
    size, found = ModelSpec.read(paths.model).size, dict[int, dict[int, _Found]]()
    for file in sorted(Path(paths.root, stage).glob(f"L*/**/N*.{ending}")):
        if is_fresh(str(file), [smk.input.summary, smk.input.weights, paths.version(stage)]):
            one = kind.read(file)
            found.setdefault(one.id.layer, {})[size.place(one.id)] = one
    return found

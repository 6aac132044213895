"""Files of neurons, one each: which of them a job is to make, and what a stage has made so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from gluscope.core.freshness import is_fresh
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.core.ranges import from_ranges
from gluscope.core.size import Size
from gluscope.model.spec import ModelSpec


def wanted(
    smk: Any, size: Size, file_of: Callable[[NeuronId], str], made_from: Callable[[NeuronId], Iterable[str]]
) -> dict[NeuronId, str]:
    """The file of each neuron that a job is for: the one that its wildcards name, or of `smk.params.neurons`, places of
    its layer or by layer, those whose file is not fresh. made_from: files that a neuron's is made from."""
    if hasattr(smk.wildcards, "neuron"):
        return {NeuronId.parse(smk.wildcards.neuron): smk.output[0]}
    listed = smk.params.neurons
    by_layer = listed if isinstance(listed, Mapping) else {smk.wildcards.layer: listed}
    neurons = (size.neuron(int(layer), place) for layer, own in by_layer.items() for place in from_ranges(own))
    files = ((neuron, file_of(neuron)) for neuron in neurons)
    return {neuron: file for neuron, file in files if not is_fresh(file, made_from(neuron))}


def inputs_but(smk: Any, *names: str) -> list[str]:
    """A job's inputs, without those of these names, if it has such."""
    given = [getattr(smk.input, name, ()) for name in names]
    left_out = {file for files in given for file in ([files] if isinstance(files, str) else files)}
    return [file for file in smk.input if file not in left_out]


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

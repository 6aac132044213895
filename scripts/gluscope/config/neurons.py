"""Which pages a run's `neurons:` list asks for, and how they are shared out among jobs."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gluscope.config.keys import RunConfig
from gluscope.core.errors import ConfigError
from gluscope.core.neuron import SHARED, NeuronId
from gluscope.core.size import Size, Stretch

BATCH = 256  # most neurons of one layer that one job makes pages of
WIDE = 4096  # most neurons of one layer that one job recomputes: it reads the layer's cache once for all of them
FEW = 8  # up to so many listed neurons of a run are jobs of their own


@dataclass(frozen=True, order=True)
class Batch:
    """The listed neurons of a layer at places from `low` to `high`, both included. `str()` is `L5/N0-255`."""

    layer: int
    low: int
    high: int

    def __str__(self) -> str:
        return f"L{self.layer}/N{self.low}-{self.high}"

    def holds(self, other: Batch) -> bool:
        return self.layer == other.layer and self.low <= other.low and other.high <= self.high


@dataclass(frozen=True)
class Pages:
    """The pages of a run's site by job: neurons that get jobs of their own, and batches.

    wide: what one job recomputes, each the neurons of some of `batches`.
    """

    single: list[NeuronId]
    batches: list[Batch]
    wide: list[Batch]


def listed_neurons(run: RunConfig, size: Size | None) -> dict[int, list[int]]:
    """Places (`core.size`) of the neurons that `run.neurons` names, by layer, sorted, each once.

    `size` None: the model is not known yet. Raises ConfigError for what the model does not have, and for a `*` or an
    expert while it is not known.
    """
    where = f"config: runs: {run.name}: neurons"
    found: dict[int, set[int]] = {}
    for text in run.neurons:
        layer, *expert, neuron = text.split("/")
        if size is None and ("*" in text or expert):
            step = f"run `snakemake {run.paths.model}` once"
            raise ConfigError(where, "a model that has been described, to know what it has", repr(text), step)
        if size is None:
            found.setdefault(int(layer[1:]), set()).add(int(neuron[1:]))
            continue
        for number, places in _named(size, layer[1:], "".join(expert), neuron[1:], where):
            found.setdefault(number, set()).update(places)
    return {layer: sorted(found[layer]) for layer in sorted(found)}


def _named(size: Size, layer: str, expert: str, neuron: str, where: str) -> Iterator[tuple[int, Iterable[int]]]:
    """Layers, and places in each, that a pattern names. Raises ConfigError where that is nothing of the model."""
    some = False
    for number in range(size.n_layers) if layer == "*" else [int(layer)]:
        size.refuse_layer(where, number)
        stretches = [s for s in size.layers[number].stretches() if _is_named(s.expert, expert)]
        if not stretches and (layer == "*" or "*" in expert):
            continue
        for whole in stretches or [Stretch(expert, 0, 0)]:
            if neuron != "*" or not stretches:
                size.refuse(where, NeuronId(number, int(neuron.replace("*", "0")), whole.expert))
            some = True
            yield number, range(whole.begin, whole.end) if neuron == "*" else [whole.begin + int(neuron)]
    if not some:
        found = f"L{layer}/{f'{expert}/' if expert else ''}N{neuron}"
        step = "write L*/E*/N* for experts, L*/ES*/N* for shared ones, L*/N* for dense layers"
        raise ConfigError(where, "neurons that the model has", f"{found}, which names none", step)


def _is_named(expert: str, pattern: str) -> bool:
    if pattern == "E*":
        return expert.startswith("E") and not expert.startswith(SHARED)
    return expert.startswith(SHARED) if pattern == f"{SHARED}*" else expert == pattern


def share_out(listed: dict[int, list[int]], size: Size | None = None) -> Pages:
    """Cut lists of neurons into jobs. listed: places by layer; size: None where they are numbers of dense layers.

    Batches of a layer are equally wide, and their width is a power of two, so that a longer list leaves most batches
    as they are.
    """
    if sum(map(len, listed.values())) <= FEW:
        places = [(layer, place) for layer, places in listed.items() for place in places]
        return Pages([size.neuron(*place) if size else NeuronId(*place) for place in places], [], [])
    batches, wide = (
        [batch for layer, neurons in listed.items() for batch in _stretches(layer, neurons, most)]
        for most in (BATCH, WIDE)
    )
    return Pages([], batches, wide)


def stretches(listed: dict[int, list[int]]) -> list[Batch]:
    """All neurons in batches, however few they are: for jobs that load the model."""
    return [batch for layer, neurons in listed.items() for batch in _stretches(layer, neurons, BATCH)]


def _stretches(layer: int, neurons: list[int], most: int) -> list[Batch]:
    width = _width(neurons, most)
    lows = dict.fromkeys(neuron // width * width for neuron in neurons)
    return [Batch(layer, low, low + width - 1) for low in lows]


def _width(neurons: list[int], most: int) -> int:
    """Width of the stretches of a layer, such that none holds more than `most` of the neurons."""
    width = max(1 << 16, 1 << neurons[-1].bit_length())
    while any(in_stretch > most for in_stretch in _counts(neurons, width)):
        width //= 2
    return width


def _counts(neurons: list[int], width: int) -> Iterator[int]:
    """How many of the sorted `neurons` each stretch holds."""
    begin = 0
    while begin < len(neurons):
        end = bisect_left(neurons, (neurons[begin] // width + 1) * width, begin)
        yield end - begin
        begin = end


def in_batch(listed: dict[int, list[int]], batch: Batch) -> list[int]:
    """The listed neurons of a batch."""
    neurons = listed.get(batch.layer, [])
    return neurons[bisect_left(neurons, batch.low) : bisect_right(neurons, batch.high)]

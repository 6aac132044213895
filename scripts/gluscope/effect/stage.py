"""The effect stage: what neurons of one layer do to the model's predictions, each neuron to a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from gluscope.core.activation import act
from gluscope.core.convention import view
from gluscope.core.cost import BATCH_TOKENS
from gluscope.core.errors import ShardMismatch
from gluscope.core.neuron import NeuronId
from gluscope.dataset.reader import TokenDataset
from gluscope.effect.choose import Chosen, choose
from gluscope.model.spec import ModelSpec
from gluscope.recompute.positions import with_positions
from gluscope.recompute.types import Recomputed
from gluscope.store.damage import to_redo
from gluscope.summary.file import SummaryReader
from gluscope.weights.file import WeightsReader
from gluscope.weights.types import Vector

if TYPE_CHECKING:
    from gluscope.model.capture import GatedModel


@dataclass(frozen=True)
class Asked:
    """What is measured, and how. examples: of each case and group; True: as many as the run's lists have. device,
    batch_tokens: of the forward passes. model: one that is loaded already, with the run's dtype."""

    examples: int | bool = True
    device: str = "auto"
    batch_tokens: int = BATCH_TOKENS
    model: GatedModel | None = None


@dataclass(frozen=True)
class Results:
    """Files of a run: summary and weights, the folder of the token data set, and each neuron's recomputed values."""

    summary: str | Path
    weights: str | Path
    tokens: str | Path
    recomputed: Callable[[NeuronId], str]


def measure_effects(
    spec: ModelSpec,
    results: Results,
    outputs: Mapping[NeuronId, str | Path],
    asked: Asked,
    say: Callable[[str], None] = print,
) -> None:
    """Write the effects of neurons of one layer, each to its file in `outputs`; the model is loaded once for them.

    Raises ModelError as `load` does, for a router that does not choose by topk, for a text that does not fit into
    memory, and for logits that are not finite; ShardMismatch for results of another model.
    """
    if not outputs:
        return
    from gluscope.effect.measure import Measure
    from gluscope.model.load import load_model

    chosen = {neuron: _chosen(spec, results, neuron, asked.examples) for neuron in sorted(outputs)}
    summary = SummaryReader(results.summary)
    provenance = summary.provenance
    weights = WeightsReader.of_run(results.weights, provenance)
    if provenance.model_revision != spec.revision:
        expected, path = f"model_revision {spec.revision}, the model's", Path(results.summary)
        raise to_redo(ShardMismatch, path, str(path), expected, provenance.model_revision)
    dtype = provenance.dtype or "float32"
    model = load_model(spec, asked.device, dtype, provenance.tf32) if asked.model is None else asked.model
    measure = Measure(model, TokenDataset.open(results.tokens), next(iter(chosen)).layer, dtype, asked.batch_tokens)
    measure.skipped = tuple(provenance.skipped_ids)
    began = perf_counter()
    for neuron, tokens in chosen.items():
        written = weights.neuron(neuron.layer, spec.size.place(neuron)).tokens[Vector.OUT]
        measure(neuron, tokens, written).save(outputs[neuron])
    seconds = (perf_counter() - began) / len(chosen)
    passes = " and ".join(f"{n / len(chosen):.1f} {kind}" for kind, n in measure.ablation.passes.items() if n)
    examples = sum(int((tokens.row >= 0).sum()) for tokens in chosen.values()) / len(chosen)
    say(f"{len(chosen)} neurons; each {examples:.1f} examples, forward passes {passes}, {seconds:.2f} s")


def _chosen(spec: ModelSpec, results: Results, neuron: NeuronId, examples: int | bool) -> Chosen:
    """The tokens to measure a neuron at, by the cases of the raw convention."""
    reader, place = SummaryReader(results.summary), spec.size.place(neuron)
    part = reader.some(neuron.layer, [place])[place]
    part = view(part, reader.sign()[neuron.layer][place : place + 1], reader.provenance.convention, "raw")
    function = act(spec.act_fn)
    part = with_positions(part, Recomputed.read(results.recomputed(neuron), neuron), function)
    return choose(part, reader.sample(), function, part.k if examples is True else min(int(examples), part.k))

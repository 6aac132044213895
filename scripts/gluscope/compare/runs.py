"""Compare the summaries of two runs over the same tokens, in the raw convention, a layer at a time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gluscope.compare.lists import ListAgreement, agreements, share
from gluscope.compare.samples import SampleAgreement
from gluscope.compare.spread import Spread
from gluscope.core.cases import LISTS, Quantity, SignCase
from gluscope.core.convention import view
from gluscope.core.errors import GluscopeError
from gluscope.core.neuron import NeuronId
from gluscope.core.precision import UNIT_ROUNDOFF
from gluscope.core.provenance import RunProvenance
from gluscope.core.size import LayerNeurons, Size
from gluscope.summary.file import SummaryReader
from gluscope.summary.types import LayerSummary

_KEPT = 50  # neurons that are named
_SHOWN = (
    "model", "model_revision", "architecture", "dataset", "dataset_revision", "tokens", "skipped", "skip_tokens",
    "dtype", "tf32", "device", "k", "versions",
)  # fmt: skip


class CompareError(GluscopeError):
    """Two runs that cannot be compared: other tokens, or models of other sizes."""


@dataclass(frozen=True, order=True)
class ChangedNeuron:
    """A neuron and how much it differs. correlation: the lower one of gate and in, over the sampled tokens; NaN if
    unknown. changed: share of its list entries that the other run lacks."""

    correlation: float
    changed: float
    id: NeuronId

    def as_json(self) -> dict[str, Any]:
        known = None if np.isnan(self.correlation) else self.correlation
        return {"neuron": str(self.id), "correlation": known, "changed_share": self.changed}


@dataclass
class Comparison:
    """How another run differs from a reference run.

    runs: what is known of the two (reference, other). lists: by case and quantity, over all neurons. Totals of changed
    entries leave out the lists of act: where the gate is closed, act has a least value that many tokens come close to,
    and which of them are listed is chance in half precision. changed_by_layer: share of entries that changed.
    moved_case: per neuron, the least share of all tokens that must have changed their case. signs: share of neurons
    whose refactored convention flips in one run alone. skip_alike: whether both skip the same tokens; if not, counts
    and lists differ by those as well. sample: None where the two have no sampled tokens in common.
    most_changed: neurons, the least alike first.
    """

    runs: tuple[RunProvenance, RunProvenance]
    lists: dict[tuple[SignCase, Quantity], ListAgreement] = field(default_factory=agreements)
    changed_by_layer: list[float | None] = field(default_factory=list)
    moved_case: Spread = field(default_factory=Spread)
    signs: float | None = None
    skip_alike: bool = True
    sample: SampleAgreement | None = None
    most_changed: list[ChangedNeuron] = field(default_factory=list)

    @property
    def entries(self) -> int:
        """List entries of the reference, without act's."""
        return sum(one.entries for one in self._counted)

    @property
    def changed_share(self) -> float | None:
        """Share of these entries whose text the other run's list lacks."""
        return share(sum(one.changed for one in self._counted), self.entries)

    @property
    def _counted(self) -> list[ListAgreement]:
        return [one for (_, quantity), one in self.lists.items() if quantity is not Quantity.ACT]

    @property
    def unit(self) -> float:
        """The coarser one of the two formats' unit roundoffs."""
        return max(UNIT_ROUNDOFF[run.forward_format] for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        return {
            "reference": _shown(self.runs[0]),
            "other": _shown(self.runs[1]),
            "same_tokens_skipped": self.skip_alike,
            "unit_roundoff": self.unit,
            "entries": self.entries,
            "changed_share": self.changed_share,
            "changed_share_by_layer": self.changed_by_layer,
            "lists": {f"{case.value} {q.value}": one.as_json() for (case, q), one in self.lists.items()},
            "moved_case": self.moved_case.as_json(),
            "neurons_whose_sign_differs": self.signs,
            "sample": self.sample.as_json() if self.sample else None,
            "most_changed": [one.as_json() for one in self.most_changed],
        }


def compare(reference: SummaryReader, other: SummaryReader, say: Callable[[str], None] = print) -> Comparison:
    """Compare two runs; lists at the smaller k. Memory: one layer of each.

    Raises CompareError if the two saw other tokens, or differ in layers or neurons a layer.
    """
    _refuse_unlike(reference, other)
    size = Size.of_results(reference.provenance.mixture, reference.n_layers, reference.neurons)
    found = Comparison((reference.provenance, other.provenance))
    found.skip_alike = _skipped(reference) == _skipped(other)
    if _same_sample(reference, other):
        found.sample = SampleAgreement(elsewhere=0 if reference.provenance.mixture else None)
    signs = [reference.sign(), other.sign()]
    here = np.arange(size.widest) < np.array([[layer.count] for layer in size.layers])
    found.signs = share(int((signs[0] != signs[1])[here].sum()), size.neurons)
    k = min(run.k for run in found.runs)
    tokens = reference.provenance.tokens
    for layer in range(reference.n_layers):
        count = size.layers[layer].count
        one, two = (
            _first(_raw(each, layer, sign[layer], k), count)
            for each, sign in zip((reference, other), signs, strict=True)
        )
        totals = np.zeros((one.neurons, 2), np.int64)
        for case, quantity in LISTS:
            changes = found.lists[case, quantity].add(one, two, case, quantity)
            totals += 0 if quantity is Quantity.ACT else changes
        changed = totals[:, 1] / np.maximum(1, totals[:, 0])
        found.changed_by_layer.append(share(int(totals[:, 1].sum()), int(totals[:, 0].sum())))
        found.moved_case.add(_moved(one.count - two.count, size.layers[layer]) / tokens)
        alike = found.sample.add(one, two).min(-1) if found.sample else np.full(one.neurons, np.nan)
        _keep(found, size, layer, alike, changed)
        say(f"layer {layer + 1} of {reference.n_layers}")
    return found


def _moved(more: np.ndarray, neurons: LayerNeurons) -> np.ndarray:
    """float64 [neuron]: the least number of tokens that must have changed their case. more: int64 [neuron, case].

    Those of a routed expert may have left its cases, or come to them, as the router sent them.
    """
    moved: np.ndarray = np.abs(more).sum(-1) / 2
    first = neurons.first_routed
    moved[first:] = np.maximum(np.maximum(more, 0).sum(-1), np.maximum(-more, 0).sum(-1))[first:]
    return moved


def _first(summary: LayerSummary, count: int) -> LayerSummary:
    """The first `count` neurons of a layer: those that there are."""
    return replace(summary, **{name: getattr(summary, name)[:count] for name in LayerSummary.__dataclass_fields__})


def _keep(found: Comparison, size: Size, layer: int, alike: np.ndarray, changed: np.ndarray) -> None:
    """Name the neurons that differ most: by correlation, and where there is none by their lists."""
    order = np.lexsort((-changed, np.nan_to_num(alike, nan=2.0)))[:_KEPT]
    new = [ChangedNeuron(float(alike[n]), float(changed[n]), size.neuron(layer, int(n))) for n in order]
    least = heapq.nsmallest(_KEPT, [*found.most_changed, *new], key=_rank)
    found.most_changed = [replace(one) for one in least]


def _rank(one: ChangedNeuron) -> tuple[float, float, NeuronId]:
    return (2.0 if np.isnan(one.correlation) else one.correlation), -one.changed, one.id


def _shown(run: RunProvenance) -> dict[str, Any]:
    return {name: value for name in _SHOWN if (value := getattr(run, name)) != ""}


def _raw(reader: SummaryReader, layer: int, sign: np.ndarray, k: int) -> LayerSummary:
    summary = view(reader.layer(layer), sign, reader.provenance.convention, "raw")
    cut = {name: getattr(summary, name)[..., :k] for name in ("extreme_value", "extreme_example", "extreme_position")}
    return replace(summary, **cut)


def _same_sample(reference: SummaryReader, other: SummaryReader) -> bool:
    left, right = reference.sample(), other.sample()
    pairs = ((left.example, right.example), (left.position, right.position))
    return len(left.example) > 0 and all(np.array_equal(*pair) for pair in pairs)


def _skipped(reader: SummaryReader) -> list[int]:
    return sorted(reader.provenance.skipped_ids)


def _refuse_unlike(reference: SummaryReader, other: SummaryReader) -> None:
    where = f"{other.path} against {reference.path}"
    prints = [reader.provenance.dataset_fingerprint for reader in (reference, other)]
    if prints[0] != prints[1]:
        raise CompareError(where, f"tokens {prints[0][:12]}", prints[1][:12], "give both runs the same data set")
    counts = [reader.provenance.tokens + reader.provenance.skipped for reader in (reference, other)]
    if counts[0] != counts[1]:
        raise CompareError(where, f"{counts[0]} tokens scanned", str(counts[1]), "scan the same shards with both")
    sizes = [
        f"{reader.n_layers} layers of {reader.neurons} neurons{_experts(reader.provenance)}"
        for reader in (reference, other)
    ]
    if sizes[0] != sizes[1]:
        raise CompareError(where, sizes[0], sizes[1], "compare models of one size, such as checkpoints of one model")


def _experts(run: RunProvenance) -> str:
    """The experts of a mixture, as part of what a model's size is."""
    if run.mixture is None:
        return ""
    known = {name: run.mixture[name] for name in ("layers", "experts", "each", "shared")}
    return f", a mixture of {', '.join(f'{name} {value}' for name, value in known.items())}"

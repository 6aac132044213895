"""What a page shows of one neuron, as plain data. Everything on the page follows from this record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from gluscope.core.activation import act
from gluscope.core.cases import CASES, QUANTITIES, Quantity, SignCase
from gluscope.core.convention import negated, view
from gluscope.core.neuron import NeuronId
from gluscope.explain.types import Explanation
from gluscope.page.contexts import Contexts
from gluscope.page.descriptions_view import DescriptionsView
from gluscope.page.effect_view import EffectView
from gluscope.page.example_texts import TokenNumbers
from gluscope.page.tokens import Token
from gluscope.page.weights_view import WeightsView


@dataclass(frozen=True)
class Extreme:
    """A place in an extreme list: signed value, row in the token data set, position in that row."""

    value: float
    example: int
    position: int


@dataclass(frozen=True)
class CaseStats:
    """One sign case of one neuron.

    count: tokens; None where only the frequency was published. frequency: share of all tokens, None if there are none.
    mean: None where the case is empty. extreme: a list for each of `SignCase.listed`, by |value| descending.
    """

    count: int | None
    frequency: float | None
    mean: dict[Quantity, float | None]
    extreme: dict[Quantity, tuple[Extreme, ...]]


@dataclass(frozen=True)
class Example:
    """One text. gate, in_: float32 [token], in the page's convention; 0 at tokens that the run skips. source: the data
    set's other columns. turns: of a chat, where each message stands: (first token, token behind the last, role).
    weight: float32 [token], what the router multiplies the output of the neuron's expert with; None in other MLPs.
    Where a token does not reach the expert, gate, in_ and weight are NaN. numbers: int32 [token], of the tokens, by the
    page's `numbers`."""

    row: int
    tokens: list[Token]
    gate: np.ndarray
    in_: np.ndarray
    source: dict[str, Any] = field(default_factory=dict)
    turns: Sequence[tuple[int, int, str]] = ()
    weight: np.ndarray | None = None
    numbers: np.ndarray | None = None

    @property
    def skipped(self) -> np.ndarray:
        """bool [token]"""
        return np.fromiter((token.skipped for token in self.tokens), bool, len(self.tokens))

    def turned(self, flip: np.ndarray) -> Example:
        """With w_in and w_out negated; see `core.convention`."""
        return replace(self, in_=negated(self.in_))


@dataclass(frozen=True)
class Sample:
    """The sampled tokens: gate, in_ float16 [sample], example int64, position int32 [sample]; tokens around each."""

    gate: np.ndarray
    in_: np.ndarray
    example: np.ndarray
    position: np.ndarray
    contexts: Contexts = field(default_factory=Contexts)

    @classmethod
    def empty(cls) -> Sample:
        half = np.zeros(0, np.float16)
        return cls(half, half, np.zeros(0, np.int64), np.zeros(0, np.int32))


@dataclass(frozen=True)
class PageProvenance:
    """Where the numbers come from; all of it is shown in the page's footer.

    model, dataset: what they are called (`core.names.public_name`), no paths.
    difference, relative_difference: the largest between a value of the scan's lists and the page's own computation
    of it, in activation units and as a share of the value. source: "cache", "replay", "model" or "published".
    decimals: of the means, where they were published rounded. device, reducer: what the scan ran on, and what made its
    statistics there; several with commas. skipped: how many tokens count for nothing, and which; empty for none.
    """

    model: str
    model_revision: str = ""
    dataset: str = ""
    dataset_revision: str = ""
    tokens: int | None = None
    skipped: str = ""
    examples: int | None = None
    k: int | None = None
    dtype: str = ""
    device: str = ""
    reducer: str = ""
    cache_dtype: str = ""
    source: str = ""
    difference: float | None = None
    relative_difference: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    note: str = ""
    decimals: int | None = None


@dataclass(frozen=True)
class NeuronPage:
    """The record of one neuron.

    convention: "raw" or "refactored": the one that all numbers here are in; `weights` has both.
    sign: -1 where the refactored convention negates w_in and w_out of this neuron, 1 where not, 0 where nobody said.
    act_fn: the model's activation, a name that `core.activation` knows.
    reached: tokens that the router sent to the neuron's expert; None for a neuron of no routed expert.
    numbers: of the texts' tokens, where the examples have them.
    """

    run: str
    id: NeuronId
    convention: str
    sign: int
    act_fn: str
    cases: dict[SignCase, CaseStats]
    examples: dict[int, Example]
    sample: Sample
    provenance: PageProvenance
    weights: dict[str, WeightsView] | None = None
    reached: int | None = None
    effect: EffectView | None = None
    descriptions: DescriptionsView | None = None
    explained: Explanation | None = None
    numbers: TokenNumbers | None = None

    def in_convention(self, convention: str) -> NeuronPage:
        """The same neuron in another convention; nothing changes unless its sign is -1."""
        return replace(view(self, self.sign, self.convention, convention), convention=convention)

    def turned(self, flip: np.ndarray) -> NeuronPage:
        """With w_in and w_out negated; see `core.convention`."""
        return replace(
            self,
            cases={case: _turned(self.cases[case.flipped]) for case in CASES},
            examples={row: example.turned(flip) for row, example in self.examples.items()},
            sample=replace(self.sample, in_=negated(self.sample.in_)),
            effect=self.effect and self.effect.turned(flip),
            descriptions=self.descriptions and self.descriptions.turned(flip),
            explained=self.explained and self.explained.turned(flip),
        )

    @property
    def act(self) -> Callable[[np.ndarray], np.ndarray]:
        """The activation function: float array -> float32."""
        return act(self.act_fn)

    def first_extreme(self, case: SignCase, quantity: Quantity) -> float | None:
        """A case's largest value in size; None where it has no tokens. Where the gate is open act's is the gate's."""
        if quantity is Quantity.ACT and quantity not in case.listed:
            gate = self.first_extreme(case, Quantity.GATE)
            return None if gate is None else float(self.act(np.array(gate)))
        places = self.cases[case].extreme[quantity]
        return places[0].value if places else None

    def values(self, row: int) -> dict[Quantity, np.ndarray]:
        """All four quantities of an example, float32 [token]; 0 at tokens that the run skips, which have no value."""
        example = self.examples[row]
        a = np.where(example.skipped, np.float32(0), self.act(example.gate))
        return {quantity: quantity.of(example.gate, example.in_, lambda gate: a) for quantity in QUANTITIES}

    def values_at(self, quantity: Quantity, places: Sequence[Extreme]) -> np.ndarray:
        """A quantity at some places, float32 [place]."""
        texts = [self.examples[place.example] for place in places]
        gate, in_ = (
            np.array([values[place.position] for values, place in zip(all_of, places, strict=True)], np.float32)
            for all_of in ([text.gate for text in texts], [text.in_ for text in texts])
        )
        return np.asarray(quantity.of(gate, in_, self.act))

    def window(self) -> dict[str, Any]:
        """What every open page has as `window.neuron`, beside more (page/data.js); undefined means, and the values of
        skipped tokens, are None."""
        return {
            "run": self.run,
            "layer": self.id.layer,
            **({"expert": self.id.expert} if self.id.expert else {}),
            **({"reached": self.reached} if self.reached is not None else {}),
            "neuron": self.id.neuron,
            "convention": self.convention,
            "cases": {case.value: stats_as_json(self.cases[case]) for case in CASES},
            "examples": {
                str(row): {
                    "tokens": [token.text for token in example.tokens],
                    **{
                        quantity.value: _unless(example.skipped, values)
                        for quantity, values in self.values(row).items()
                    },
                }
                for row, example in self.examples.items()
            },
        }


def stats_as_json(stats: CaseStats) -> dict[str, Any]:
    """A case as `window.neuron.cases` has it."""
    return {
        "count": stats.count,
        "frequency": stats.frequency,
        "mean": {quantity.value: stats.mean[quantity] for quantity in QUANTITIES},
        "extreme": {
            quantity.value: [{name.name: getattr(place, name.name) for name in fields(place)} for place in places]
            for quantity, places in stats.extreme.items()
        },
    }


def _unless(skipped: np.ndarray, values: np.ndarray) -> list[float | None]:
    return [None if none else value for none, value in zip(skipped.tolist(), values.tolist(), strict=True)]


def _turned(stats: CaseStats) -> CaseStats:
    mean = {q: (-m if q.is_turned and m is not None else m) for q, m in stats.mean.items()}
    extreme = {
        q: tuple(replace(place, value=-place.value) for place in places) if q.is_turned else places
        for q, places in stats.extreme.items()
    }
    return replace(stats, mean=mean, extreme=extreme)

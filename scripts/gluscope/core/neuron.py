"""What a neuron is called: layer, expert where it belongs to one, and number. `L5/N7`, `L5/E12/N345`, `L5/ES/N3`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

_NUMBER = r"(?:0|[1-9]\d*)"
# A neuron's name, with no groups, for who looks for one in a larger text.
NEURON = rf"L{_NUMBER}/(?:E(?:S{_NUMBER}?|{_NUMBER})/)?N{_NUMBER}"
SHARED = "ES"  # begins the name of a shared expert
_NAME = re.compile(rf"L({_NUMBER})/(?:(E(?:S{_NUMBER}?|{_NUMBER}))/)?N({_NUMBER})")


def is_routed(expert: str) -> bool:
    """Whether a router decides which tokens reach this MLP."""
    return bool(expert) and not expert.startswith(SHARED)


def shared_number(expert: str) -> int:
    """Which of a layer's shared experts this name is of, from 0."""
    return int(expert.removeprefix(SHARED) or 0)


@total_ordering
@dataclass(frozen=True)
class NeuronId:
    """A neuron of a model: layer, number in its MLP, both from 0, and the expert that this MLP is.

    expert: "" for the MLP of a dense layer; "E12" for a routed expert; "ES" for the shared one of a mixture of experts,
    "ES0", "ES1" where there are several. Sorted by layer, then dense, shared, routed, then number.
    """

    layer: int
    neuron: int
    expert: str = ""

    def __str__(self) -> str:
        return f"L{self.layer}/{f'{self.expert}/' if self.expert else ''}N{self.neuron}"

    def __lt__(self, other: NeuronId) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, int, int, int]:
        shared = self.expert.startswith(SHARED)
        number = self.expert.removeprefix(SHARED) if shared else self.expert[1:]
        return self.layer, (1 if shared else 2) if self.expert else 0, int(number or 0), self.neuron

    @classmethod
    def parse(cls, text: str) -> NeuronId:
        """Read `L5/E12/N345`. Raises ValueError for anything else, also for leading zeros."""
        found = _NAME.fullmatch(text)
        if not found:
            raise ValueError(f"not a neuron: {text!r}")
        return cls(int(found[1]), int(found[3]), found[2] or "")

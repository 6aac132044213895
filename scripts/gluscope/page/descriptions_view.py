"""What a page shows of others' descriptions of its neuron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gluscope.core.cases import CASES
from gluscope.core.convention import view
from gluscope.descriptions.types import Description, Descriptions


@dataclass(frozen=True)
class DescriptionsView:
    """said: in the page's convention. source: which file or folder they are from, for the footer."""

    said: tuple[Description, ...]
    source: str

    def turned(self, flip: np.ndarray) -> DescriptionsView:
        """With w_in and w_out negated; see `core.convention`."""
        return replace(self, said=tuple(one.turned(flip) for one in self.said))

    def as_json(self) -> dict[str, list[dict[str, Any]]]:
        """By case, as a page's data have them."""
        return {
            case.value: [
                {"words": one.words, "by": one.by, "score": one.score, "measure": one.measure}
                for one in self.said
                if case in one.cases
            ]
            for case in CASES
        }


def descriptions_view(all_: Descriptions, said: Sequence[Description], sign: int, convention: str) -> DescriptionsView:
    """said: of the neuron, each in its own convention. sign: the neuron's. convention: the page's."""
    whose = f", of {all_.model}" if all_.model else ""
    source = f"{all_.source}{whose} (sha256 {all_.digest})"
    return DescriptionsView(tuple(view(one, sign, one.convention, convention) for one in said), source)

"""The two sign conventions, and the way from one to the other."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import numpy as np

CONVENTIONS = ("raw", "refactored")


class Turnable(Protocol):
    """What knows how it looks where w_in and w_out are negated."""

    def turned(self, flip: np.ndarray) -> Any:
        """Itself with w_in and w_out negated for the neurons whose `flip` is true; twice is as before."""


_View = TypeVar("_View", bound=Turnable)
_Array = TypeVar("_Array", bound=np.ndarray)


def view(what: _View, sign: np.ndarray | int, has: str, wants: str) -> _View:
    """What is known in convention `has`, in convention `wants`. The one place that says whose w_in and w_out change.

    sign: int8 [neuron], or of one neuron: -1 where the refactored convention negates w_in and w_out. Then in and post
    change their signs and in+ and in- swap. `what` may be shared with the result. Raises ValueError for another word.
    """
    for convention in (has, wants):
        if convention not in CONVENTIONS:
            raise ValueError(f"not a convention: {convention!r}")
    flip = np.asarray(sign) < 0
    return what if has == wants or not flip.any() else what.turned(flip)  # type: ignore[no-any-return]


def negated(values: _Array) -> _Array:
    """-values, with 0 for 0."""
    return np.asarray(0 - values, values.dtype)  # type: ignore[return-value]

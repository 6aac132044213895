"""Sign cases and quantities of a gated neuron.

For one token with MLP input x: gate g = x . w_gate, in u = x . w_in, act a = act(g), post p = a * u.
The signs of g and u put every token into one of four cases; a token with g or u exactly 0 is in none.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, assert_never


class Quantity(Enum):
    """One of the four numbers a gated neuron has at a token, in stored order."""

    GATE = "gate"
    IN = "in"
    ACT = "act"
    POST = "post"

    @property
    def index(self) -> int:
        """Place on the `quantity` axis of stored arrays."""
        return QUANTITIES.index(self)

    @property
    def hook(self) -> str:
        """Name of TransformerLens' hook, which published column names use as well."""
        return _HOOKS[self]

    @property
    def is_turned(self) -> bool:
        """Whether it changes its sign where w_in and w_out are negated."""
        return self in (Quantity.IN, Quantity.POST)

    def of(self, gate: Any, in_: Any, act: Callable[[Any], Any]) -> Any:
        """Its values from those of gate and in. act: the model's activation function, in the format of the result."""
        match self:
            case Quantity.GATE:
                return gate
            case Quantity.IN:
                return in_
            case Quantity.ACT:
                return act(gate)
            case Quantity.POST:
                return act(gate) * in_
        assert_never(self)


class SignCase(Enum):
    """The signs of gate and in at a token, in stored order."""

    GATE_POS_IN_POS = "gate+_in+"
    GATE_POS_IN_NEG = "gate+_in-"
    GATE_NEG_IN_POS = "gate-_in+"
    GATE_NEG_IN_NEG = "gate-_in-"

    @property
    def index(self) -> int:
        """Place on the `case` axis of stored arrays."""
        return CASES.index(self)

    @property
    def gate_sign(self) -> int:
        """+1 where the gate is open, -1 where it is closed."""
        return 1 if self.value.startswith("gate+") else -1

    @property
    def in_sign(self) -> int:
        """+1 or -1."""
        return 1 if self.value.endswith("in+") else -1

    @property
    def flipped(self) -> SignCase:
        """The case that takes this one's place when w_in is negated."""
        return CASES[self.index ^ 1]

    def sign(self, quantity: Quantity) -> int:
        """Sign that `quantity` has at every token of this case: +1 or -1."""
        match quantity:
            case Quantity.GATE | Quantity.ACT:
                return self.gate_sign
            case Quantity.IN:
                return self.in_sign
            case Quantity.POST:
                return self.gate_sign * self.in_sign
        assert_never(quantity)

    def holds(self, gate: Any, in_: Any) -> Any:
        """Whether tokens are in this case: bool, as the arrays (numpy's or torch's) of their gate and in."""
        return (gate * self.gate_sign > 0) & (in_ * self.in_sign > 0)

    @property
    def listed(self) -> tuple[Quantity, ...]:
        """Quantities with an extreme list of their own.

        Where the gate is open act increases with it, so act's list is the gate's and is not stored.
        """
        return QUANTITIES if self.gate_sign < 0 else (Quantity.GATE, Quantity.IN, Quantity.POST)


QUANTITIES: tuple[Quantity, ...] = tuple(Quantity)
CASES: tuple[SignCase, ...] = tuple(SignCase)
LISTS: tuple[tuple[SignCase, Quantity], ...] = tuple((case, quantity) for case in CASES for quantity in case.listed)

_HOOKS = {
    Quantity.GATE: "hook_pre",
    Quantity.IN: "hook_pre_linear",
    Quantity.ACT: "swish",
    Quantity.POST: "hook_post",
}

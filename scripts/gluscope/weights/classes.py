"""Read-write classes of gated neurons, from three cosines (Gerstner and Schütze 2025)."""

from __future__ import annotations

from enum import Enum

import numpy as np

THRESHOLD = 0.5


class RWClass(Enum):
    """What a neuron does to the direction that it reads, in stored order.

    The value is the key (r(in,out), |r(gate,out)|, typical): r(c) = 1 if c > 0.5, -1 if c < -0.5, else 0;
    typical = 1 where r(gate,in) == r(in,out) * r(gate,out). With both others 0, w_out is orthogonal to all that is
    read, and typical is 1 whatever r(gate,in) is: so (0, 0, 0) cannot occur, and the eleven keys are all there are.
    """

    STRENGTHENING = (1, 1, 1)
    ATYPICAL_STRENGTHENING = (1, 1, 0)
    CONDITIONAL_STRENGTHENING = (1, 0, 1)
    ATYPICAL_CONDITIONAL_STRENGTHENING = (1, 0, 0)
    WEAKENING = (-1, 1, 1)
    ATYPICAL_WEAKENING = (-1, 1, 0)
    CONDITIONAL_WEAKENING = (-1, 0, 1)
    ATYPICAL_CONDITIONAL_WEAKENING = (-1, 0, 0)
    PROPORTIONAL_CHANGE = (0, 1, 1)
    ATYPICAL_PROPORTIONAL_CHANGE = (0, 1, 0)
    ORTHOGONAL_OUTPUT = (0, 0, 1)

    @property
    def label(self) -> str:
        """The name as people write it, e.g. "atypical conditional weakening"."""
        return self.name.lower().replace("_", " ")

    @property
    def index(self) -> int:
        """The number that stored arrays hold."""
        return RW_CLASSES.index(self)


RW_CLASSES: tuple[RWClass, ...] = tuple(RWClass)


def rw_class(in_out: float, gate_out: float, gate_in: float) -> RWClass:
    """The class of one neuron, from cos(w_in, w_out), cos(w_gate, w_out) and cos(w_gate, w_in).

    The same in both sign conventions: negating w_in and w_out negates r(gate,out) and r(gate,in) together.
    """
    return RW_CLASSES[int(rw_classes(np.array([in_out]), np.array([gate_out]), np.array([gate_in]))[0])]


def rw_classes(in_out: np.ndarray, gate_out: np.ndarray, gate_in: np.ndarray) -> np.ndarray:
    """int8 [neuron], `RWClass.index`, from float [neuron] cosines."""
    r_in_out, r_gate_out, r_gate_in = _r(in_out), _r(gate_out), _r(gate_in)
    orthogonal = (r_in_out == 0) & (r_gate_out == 0)
    typical = (r_gate_in == r_in_out * r_gate_out) | orthogonal
    return np.asarray(_BY_KEY[r_in_out, np.abs(r_gate_out), typical.astype(np.intp)])


def _r(cosine: np.ndarray) -> np.ndarray:
    return np.asarray((cosine > THRESHOLD).astype(np.intp) - (cosine < -THRESHOLD))


# By key; the first axis is indexed with -1 too, which numpy takes as the last place.
_BY_KEY = np.full((3, 2, 2), -1, np.int8)
for _class in RW_CLASSES:
    _BY_KEY[_class.value] = _class.index

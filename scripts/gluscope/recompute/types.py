"""What a recompute gives, and its file. Imports numpy alone: pages read it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from gluscope.core.convention import negated
from gluscope.core.errors import WrongFile
from gluscope.core.neuron import NeuronId
from gluscope.store.arrays import read_arrays, write_arrays
from gluscope.store.damage import to_redo

Source = Literal["cache", "replay", "model"]
_FORMAT = 1
_OF_EXPERTS = {"expert", "weight"}


@dataclass(frozen=True)
class Recomputed:
    """Gate and in of one neuron at every token of some texts, in the raw convention.

    rows: int64 [example], in the token data set, ascending. lengths: int64 [example], tokens.
    gate, in_: float32 [token], the texts one after another, biases included.
    source: where they come from; dtype: the number format that they, or the x they were computed from, were kept in.
    gate_bound, in_bound: what |gate| and |in| cannot exceed, |x| |w| + |bias| at the largest x: the scale of rounding.
    neuron, expert: as in NeuronId. Of a routed expert gate and in are NaN where a token does not reach it; weight:
    float32 [token], what the router multiplies its output with, NaN likewise; None in other MLPs.
    """

    layer: int
    neuron: int
    rows: np.ndarray
    lengths: np.ndarray
    gate: np.ndarray
    in_: np.ndarray
    source: Source
    dtype: str
    gate_bound: float
    in_bound: float
    expert: str = ""
    weight: np.ndarray | None = None

    @property
    def id(self) -> NeuronId:
        """The neuron."""
        return NeuronId(self.layer, self.neuron, self.expert)

    def turned(self, flip: np.ndarray) -> Recomputed:
        """With w_in and w_out negated; see `core.convention`."""
        return replace(self, in_=negated(self.in_))

    def has(self, row: int, position: int) -> bool:
        """Whether this token is among them."""
        place = int(np.searchsorted(self.rows, row))
        there = place < len(self.rows) and self.rows[place] == row
        return bool(there and 0 <= position < self.lengths[place])

    def values(self, rows: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gate and in, float64 [token], at tokens that are among them."""
        places = np.searchsorted(self.rows, rows)
        tokens = (np.cumsum(self.lengths) - self.lengths)[places] + positions
        return self.gate[tokens].astype(np.float64), self.in_[tokens].astype(np.float64)

    def save(self, path: str | Path) -> None:
        """Write it as an .npz without pickles, whole or not at all."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if not self.expert:
            values = {name: value for name, value in values.items() if name not in _OF_EXPERTS}
        write_arrays(path, _FORMAT, {name: value for name, value in values.items() if value is not None})

    @classmethod
    def read(cls, path: str | Path, neuron: NeuronId | None = None) -> Recomputed:
        """Raises StoreError for a file that is missing, damaged or something else, also another neuron's."""
        names = cls.__dataclass_fields__
        found = cls(**read_arrays(path, "recomputed values", _FORMAT, names, may_lack=_OF_EXPERTS))
        if neuron not in (None, own := found.id):
            raise to_redo(WrongFile, Path(path), str(path), f"the values of {neuron}", f"those of {own}")
        return found

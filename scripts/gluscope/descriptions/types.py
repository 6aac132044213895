"""Descriptions of neurons by others, and the file that a run keeps of them. Imports numpy alone: pages read it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gluscope.core.cases import CASES, SignCase
from gluscope.store.arrays import read_arrays, write_arrays

_FORMAT = 1
_BITS = 40  # that a place may have
_SURROGATES = "surrogatepass"  # JSON may hold halves of characters


@dataclass(frozen=True, slots=True)
class Description:
    """What somebody says of a neuron in some sign cases.

    cases: where it holds, in `convention`. words: not empty. by: whose it is, and who or what wrote it. score: how well
    it did where it was tested, None for unknown; measure: what that score is.
    """

    cases: tuple[SignCase, ...]
    words: str
    by: str
    score: float | None = None
    measure: str = ""
    convention: str = "raw"

    def turned(self, flip: np.ndarray) -> Description:
        """With w_in and w_out negated; see `core.convention`."""
        return Description(
            tuple(case for case in CASES if case.flipped in self.cases),
            self.words, self.by, self.score, self.measure, self.convention,
        )  # fmt: skip


class Descriptions:
    """All that a run has, by (layer, place of the neuron in it, see `core.size`).

    A million are opened at once; only those of a neuron that is asked for become objects.

    source: what its file or folder is called. digest: of what was read. model: whom its files say they are of; empty
    where they do not say.
    """

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        """columns: as they are stored, sorted by layer and place."""
        self._columns = columns
        # One number for a neuron, in order.
        self._key = columns["layer"].astype(np.int64) << _BITS | columns["place"]
        self._tables = {name: _strings(columns, name) for name in (*_TABLES, "about")}
        self.source, self.digest, self.model = self._tables["about"]

    @classmethod
    def build(
        cls, found: Mapping[tuple[int, int], Sequence[Description]], source: str = "", digest: str = "", model: str = ""
    ) -> Descriptions:
        rows = [(*at, one) for at in sorted(found) for one in found[at]]
        ones = [one for _, _, one in rows]
        columns: dict[str, np.ndarray] = {
            "layer": np.array([layer for layer, _, _ in rows], np.int32),
            "place": np.array([place for _, place, _ in rows], np.int64),
            "cases": np.array([sum(1 << case.index for case in one.cases) for one in ones], np.uint8),
            "score": np.array([np.nan if one.score is None else one.score for one in ones], np.float64),
            **_texts("words", [one.words for one in ones]),
            **_texts("about", [source, digest, model]),
        }
        for name in _TABLES:
            known = {text: number for number, text in enumerate(sorted({getattr(one, name) for one in ones}))}
            columns[f"{name}_number"] = np.array([known[getattr(one, name)] for one in ones], np.int32)
            columns |= _texts(name, known)
        return cls(columns)

    def of(self, layer: int, place: int) -> tuple[Description, ...]:
        """Those of one neuron."""
        key = layer << _BITS | place
        first, last = np.searchsorted(self._key, [key, key + 1])
        return tuple(self._one(row) for row in range(int(first), int(last)))

    @property
    def count(self) -> int:
        """Descriptions."""
        return len(self._key)

    @property
    def neurons(self) -> int:
        """Neurons of which anything is said."""
        return len(np.unique(self._key))

    def save(self, path: str | Path) -> None:
        """Write them as an .npz without pickles, whole or not at all; the same descriptions to the same bytes."""
        write_arrays(path, _FORMAT, self._columns)

    @classmethod
    def read(cls, path: str | Path) -> Descriptions:
        """Raises StoreError for a file that is missing, damaged or something else."""
        return cls(read_arrays(path, "descriptions of neurons", _FORMAT, _NAMES))

    def _one(self, row: int) -> Description:
        columns, score = self._columns, float(self._columns["score"][row])
        mask = int(columns["cases"][row])
        by, measure, convention = (self._tables[name][int(columns[f"{name}_number"][row])] for name in _TABLES)
        end = columns["words_end"]
        words = columns["words_text"][int(end[row - 1]) if row else 0 : int(end[row])]
        return Description(
            tuple(case for case in CASES if mask >> case.index & 1),
            words.tobytes().decode("utf-8", _SURROGATES),
            by,
            None if np.isnan(score) else score,
            measure,
            convention,
        )


_TABLES = ("by", "measure", "convention")  # texts of which there are few, as numbers in a table
_NAMES = (
    "layer", "place", "cases", "score", "by_number", "measure_number", "convention_number",
    *(f"{name}_{part}" for name in ("words", "by", "measure", "convention", "about") for part in ("text", "end")),
)  # fmt: skip


def _texts(name: str, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Texts one after another as UTF-8, and where each ends."""
    data = [text.encode("utf-8", _SURROGATES) for text in texts]
    return {
        f"{name}_text": np.frombuffer(b"".join(data), np.uint8),
        f"{name}_end": np.cumsum([len(text) for text in data], dtype=np.int64),
    }


def _strings(columns: Mapping[str, np.ndarray], name: str) -> list[str]:
    data, ends = columns[f"{name}_text"].tobytes(), [0, *columns[f"{name}_end"].tolist()]
    return [data[begin:end].decode("utf-8", _SURROGATES) for begin, end in itertools.pairwise(ends)]

"""The finder's answers by token: in which lists of which neurons a token stands, and at how many of their k places.

An index from tokens to lists. It is cut into files by token (id modulo their number), so that a search reads a few; its
rows wait on disk while layers come, so that memory is that of one layer, then of one file.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gluscope.core.cases import LISTS
from gluscope.page.pack import pack_arrays
from gluscope.summary.types import LayerSummary
from gluscope.weights.types import VECTORS, LayerWeights, Vector

LIST_NAMES = tuple(f"{quantity.value} {case.value}" for case, quantity in LISTS)
END_NAMES = tuple(f"{vector.value} {end}" for vector in VECTORS for end in ("top", "bottom"))
SHOWN = 4  # tokens of a list that a neuron's own entry keeps
_WAITING = 256  # files in which rows wait
_ROWS = 200_000  # of the index in a file, while there are fewer files than `_WAITING`
_ROW = np.dtype([("token", "<u4"), ("neuron", "<u4"), ("list", "u1"), ("times", "<u2")])
_ID_BITS = 32


class Texts(Protocol):
    """What the finder needs of a token data set."""

    def input_ids(self, row: int) -> np.ndarray: ...


def tokens_at(rows: np.ndarray, positions: np.ndarray, dataset: Texts) -> np.ndarray:
    """int64, the token ids at places of a data set, in their shape; -1 where row or position is not known.

    Each text is read once. (Published activations say no positions.)
    """
    row, position = rows.ravel(), positions.ravel()
    found = np.full(row.shape, -1, np.int64)
    order = np.flatnonzero((row >= 0) & (position >= 0))
    order = order[np.argsort(row[order], kind="stable")]
    begins = np.flatnonzero(np.diff(row[order], prepend=-1))
    for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(order)], strict=True):
        part = order[begin:end]
        found[part] = dataset.input_ids(int(row[part[0]]))[position[part]]
    return found.reshape(rows.shape)


def listed_tokens(summary: LayerSummary, dataset: Texts, neurons: slice = slice(None)) -> np.ndarray:
    """int64 [neuron, list, k], by `LIST_NAMES`, of some neurons; -1 where a list is not filled so far."""
    at = [np.array([which.index for which in pair]) for pair in zip(*LISTS, strict=True)]
    places = (values[neurons] for values in (summary.extreme_example, summary.extreme_position))
    rows, positions = (values[:, at[0], at[1]] for values in places)
    return tokens_at(rows, positions, dataset)


def weight_tokens(weights: LayerWeights, convention: str, neurons: slice = slice(None)) -> np.ndarray:
    """int64 [neuron, list, place], by `END_NAMES`, of some neurons, most extreme first; -1 where the vocabulary has
    fewer."""
    found = np.array(weights.token_id[neurons], np.int64)
    if convention == "refactored":
        flipped = np.flatnonzero(weights.sign[neurons] < 0)
        for vector in (Vector.IN, Vector.OUT):
            found[flipped, vector.index] = found[flipped, vector.index, ::-1]
    return found.reshape(len(found), len(END_NAMES), -1)


def counted(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of int64 [neuron, list, k], each list's tokens once: its place neuron * lists + list, the token, how often."""
    neurons, lists, k = tokens.shape
    place, token = np.repeat(np.arange(neurons * lists), k), tokens.ravel()
    keys, times = np.unique((place << _ID_BITS | token)[token >= 0], return_counts=True)
    return keys >> _ID_BITS, keys & ((1 << _ID_BITS) - 1), times


def ranked(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same of lists that have a token once: in place of how often, the places from its own to the list's end."""
    neurons, lists, k = tokens.shape
    place, token = np.repeat(np.arange(neurons * lists), k), tokens.ravel()
    times = np.tile(np.arange(k, 0, -1), neurons * lists)
    known = token >= 0
    return place[known], token[known], times[known]


def commonest(place: np.ndarray, token: np.ndarray, times: np.ndarray, places: int) -> dict[str, np.ndarray]:
    """Columns of at most `SHOWN` tokens a list, the most frequent first; 0 times where it has fewer."""
    order = np.argsort(place * (1 << 16) - times, kind="stable")  # tokens of a list come by their number
    rank = np.arange(len(order)) - np.searchsorted(place[order], place[order])
    kept = order[rank < SHOWN]
    at = place[kept] * SHOWN + rank[rank < SHOWN]
    ids, often = np.zeros(places * SHOWN, "<u4"), np.zeros(places * SHOWN, "<u2")
    ids[at], often[at] = token[kept], times[kept]
    return {"token": ids, "times": often}


class TokenIndex:
    """The index of some lists of all neurons, written layer by layer into `folder` as NAME-0.js, NAME-1.js, ..."""

    def __init__(self, folder: Path, name: str, lists: int) -> None:
        self.folder, self.name, self.lists = folder, name, lists
        self.waiting = folder / f".{name}"
        self.waiting.mkdir()
        self.rows = 0

    def add(self, first: int, place: np.ndarray, token: np.ndarray, times: np.ndarray) -> None:
        """Take in a layer. first: the number of its first neuron among all. The others: see `counted`."""
        rows = np.empty(len(place), _ROW)
        rows["neuron"], rows["list"] = first + place // self.lists, place % self.lists
        rows["token"], rows["times"] = token, times
        file = token % _WAITING
        order = np.argsort(file, kind="stable")
        ends = np.searchsorted(file[order], np.arange(_WAITING + 1)).tolist()
        for number in np.unique(file).tolist():
            with open(self.waiting / str(number), "ab") as handle:
                handle.write(rows[order[ends[number] : ends[number + 1]]].tobytes())
        self.rows += len(rows)

    def finish(self) -> int:
        """Write the files; returns how many there are, a power of 2."""
        files = 1
        while files < _WAITING and self.rows > files * _ROWS:
            files *= 2
        for number in range(files):
            parts = [self.waiting / str(part) for part in range(number, _WAITING, files)]
            rows = np.concatenate([np.zeros(0, _ROW)] + [np.fromfile(part, _ROW) for part in parts if part.exists()])
            rows = rows[np.argsort(rows["token"], kind="stable")]
            ids, begins = np.unique(rows["token"], return_index=True)
            block = pack_arrays(
                {"name": self.name, "file": number},
                {
                    "id": ids.astype("<u4"),
                    "begin": begins.astype("<u4"),
                    "step": _steps(rows["neuron"], begins),
                    "list": np.ascontiguousarray(rows["list"]),
                    "times": np.ascontiguousarray(rows["times"]),
                },
            )
            write_script(self.folder / f"{self.name}-{number}.js", block)
        shutil.rmtree(self.waiting)
        return files

    def about(self, names: tuple[str, ...]) -> dict[str, Any]:
        """What the start page has to know of it; writes the files."""
        return {"name": self.name, "lists": list(names), "files": self.finish()}


def write_script(path: Path, block: str) -> None:
    """A block as a script that hands it over: a page opened from disk may load scripts but not read files."""
    path.write_text(f'gluscopeBlock("{block}");\n', encoding="ascii")


def _steps(neuron: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """uint32: how far each neuron's number is from the one before it, of the same token; from 0 for the first."""
    steps = np.diff(neuron.astype(np.int64), prepend=0)
    steps[begins] = neuron[begins]
    return steps.astype("<u4")

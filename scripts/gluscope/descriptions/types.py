"""Descriptions of neurons by others, and the file that a run keeps of them. Imports numpy alone: pages read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.cases import CASES, SignCase
from gluscope.store.arrays import read_arrays, write_arrays

_FORMAT = 1
_SURROGATES = "surrogatepass"  # JSON may hold halves of characters


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Descriptions:
    """All that a run has, by (layer, place of the neuron in it, see `core.size`).

    source: what its file or folder is called. digest: of what was read. model: whom its files say they are of; empty
    where they do not say.
    """

    found: dict[tuple[int, int], tuple[Description, ...]]
    source: str = ""
    digest: str = ""
    model: str = ""

    def of(self, layer: int, place: int) -> tuple[Description, ...]:
        """Those of one neuron."""
        return self.found.get((layer, place), ())

    def save(self, path: str | Path) -> None:
        """Write them as an .npz without pickles, whole or not at all; the same descriptions to the same bytes."""
        rows = [(*at, one) for at in sorted(self.found) for one in self.found[at]]
        ones = [one for _, _, one in rows]
        values: dict[str, Any] = {
            "layer": np.array([layer for layer, _, _ in rows], np.int32),
            "place": np.array([place for _, place, _ in rows], np.int64),
            "cases": np.array([sum(1 << case.index for case in one.cases) for one in ones], np.uint8),
            "score": np.array([np.nan if one.score is None else one.score for one in ones], np.float32),
            **_texts("words", [one.words for one in ones]),
        }
        for name in ("by", "measure", "convention"):
            known, number = np.unique([getattr(one, name) for one in ones] or [""], return_inverse=True)
            values |= {f"{name}_number": number[: len(ones)].astype(np.int32), **_texts(name, known.tolist())}
        write_arrays(path, _FORMAT, {**values, **_texts("about", [self.source, self.digest, self.model])})

    @classmethod
    def read(cls, path: str | Path) -> Descriptions:
        """Raises StoreError for a file that is missing, damaged or something else."""
        stored = read_arrays(path, "descriptions of neurons", _FORMAT, _NAMES)
        tables = {name: list(_strings(stored, name)) for name in ("words", "by", "measure", "convention", "about")}
        found: dict[tuple[int, int], list[Description]] = {}
        by, measure, convention = (
            [tables[name][number] for number in stored[f"{name}_number"].tolist()]
            for name in ("by", "measure", "convention")
        )
        cases = [tuple(case for case in CASES if mask >> case.index & 1) for mask in range(1 << len(CASES))]
        rows = zip(stored["layer"].tolist(), stored["place"].tolist(), stored["cases"].tolist(),
                   stored["score"].tolist(), tables["words"], by, measure, convention, strict=True)  # fmt: skip
        for layer, place, mask, score, words, whose, what, has in rows:
            known = None if np.isnan(score) else score
            found.setdefault((layer, place), []).append(Description(cases[mask], words, whose, known, what, has))
        source, digest, model = tables["about"]
        return cls({at: tuple(ones) for at, ones in found.items()}, source, digest, model)


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


def _strings(stored: dict[str, Any], name: str) -> Iterator[str]:
    data, begin = stored[f"{name}_text"].tobytes(), 0
    for end in stored[f"{name}_end"].tolist():
        yield data[begin:end].decode("utf-8", _SURROGATES)
        begin = end

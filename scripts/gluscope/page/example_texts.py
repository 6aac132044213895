"""The texts of a run's examples as pages show them, and numbers for their tokens: neurons share texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from gluscope.page.tokens import Token, TokenTexts

_KEPT = 2048  # texts; about 30 MB


class TokenRows(Protocol):
    """A token data set."""

    def input_ids(self, row: int) -> np.ndarray: ...

    def metadata(self, row: int) -> Mapping[str, Any]: ...

    def turns(self, row: int) -> Sequence[tuple[int, int, str]]: ...


class TokenNumbers:
    """A number for each distinct token, in the order in which they are first asked for. tokens: by number.

    For one thread.
    """

    def __init__(self) -> None:
        self._number: dict[Token, int] = {}
        self.tokens: list[Token] = []

    def of(self, tokens: Iterable[Token]) -> np.ndarray:
        """int32 [token]"""
        tokens, known = list(tokens), self._number
        for token in tokens:
            if token not in known:
                known[token] = len(known)
                self.tokens.append(token)
        return np.fromiter(map(known.__getitem__, tokens), np.int32, len(tokens))


@dataclass(frozen=True)
class ExampleText:
    """numbers: int32 [token], of the tokens. skipped: bool [token], which count for nothing. source, turns: as in
    `record.Example`."""

    tokens: list[Token]
    numbers: np.ndarray
    skipped: np.ndarray
    source: dict[str, Any]
    turns: Sequence[tuple[int, int, str]]


class ExampleTexts:
    """texts[row]: a text of the data set. The last ones are kept. numbers: of all that were asked for."""

    def __init__(self, dataset: TokenRows, texts: TokenTexts) -> None:
        self._dataset, self._texts, self.numbers = dataset, texts, TokenNumbers()
        self._read = lru_cache(_KEPT)(self._text)

    def __getitem__(self, row: int) -> ExampleText:
        return self._read(row)

    def _text(self, row: int) -> ExampleText:
        ids = self._dataset.input_ids(row)
        tokens = self._texts.tokens(ids.tolist())
        return ExampleText(
            tokens,
            self.numbers.of(tokens),
            self._texts.skips(ids),
            dict(self._dataset.metadata(row)),
            self._dataset.turns(row),
        )

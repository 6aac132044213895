"""The tokens around each sampled one. They are the same on all pages of a run, so they are read and counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain

import numpy as np

from gluscope.page.tokens import Token

BEFORE, AFTER = 8, 3  # tokens of context around a sampled token


@dataclass(frozen=True, eq=False)
class Contexts:
    """tokens: of each context, the sampled one at place `at[sample]`. Both are empty if the texts are not at hand."""

    tokens: Sequence[Sequence[Token]] = field(default_factory=list)
    at: Sequence[int] = field(default_factory=list)

    @cached_property
    def counts(self) -> Counter[Token]:
        """How often each token stands in all contexts, in the order in which they first do."""
        return Counter(chain.from_iterable(self.tokens))

    @cached_property
    def numbers(self) -> np.ndarray:
        """int64 [token of all contexts, one after another]: its place among `counts`."""
        number = {token: i for i, token in enumerate(self.counts)}
        return np.fromiter(map(number.__getitem__, chain.from_iterable(self.tokens)), np.int64)


@lru_cache(maxsize=8)
def cut(contexts: Contexts, before: int, after: int) -> Contexts:
    """The same with at most so many tokens around the sampled one."""
    if before >= BEFORE and after >= AFTER:
        return contexts
    tokens, at = [], []
    for whole, place in zip(contexts.tokens, contexts.at, strict=True):
        start = max(0, place - before)
        tokens.append(whole[start : place + after + 1])
        at.append(place - start)
    return Contexts(tokens, at)

"""The plan of shards: which rows each scan job takes. Imports neither torch nor datasets, nor numpy to read one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gluscope.core.errors import ShardMismatch
from gluscope.core.paths import shard_name
from gluscope.store.damage import to_redo
from gluscope.store.sealed import read_sealed, sealed

if TYPE_CHECKING:
    import numpy as np

KIND = "a plan of shards"


class Rows(Protocol):
    """What a plan needs of a token data set. lengths: int64 [row], tokens."""

    @property
    def lengths(self) -> np.ndarray: ...

    def digest(self, start: int, stop: int) -> str:
        """Digest of the token ids of the rows start to stop - 1."""


@dataclass(frozen=True)
class Shard:
    """Rows start to stop - 1 of the token data set; none where the two are equal.

    tokens: how many those hold. digest: of their token ids.
    """

    name: str
    start: int
    stop: int
    tokens: int
    digest: str

    @property
    def rows(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Plan:
    """All shards of a run, in the order of their rows.

    base: names the cut. It stays while rows are only appended, and is another one after every other change; shards
    with different ones do not belong together. stages: by name, the version of the stage that cut. path: the file that
    it was read from.
    """

    base: str
    shards: list[Shard]
    stages: dict[str, str] = field(default_factory=dict)
    path: str = field(default="", compare=False)

    def shard(self, name: str) -> Shard:
        """Raises ShardMismatch for a name that the plan lacks."""
        for shard in self.shards:
            if shard.name == name:
                return shard
        raise self.mismatch(f"shard {name}", f"{len(self.shards)} others")

    def mismatch(self, expected: str, found: str) -> Exception:
        """The error for a plan that is not of these data; the file, if it came from one, is to be made anew."""
        if not self.path:
            return ShardMismatch("the plan of shards", expected, found, "run the same command again")
        return to_redo(ShardMismatch, Path(self.path), self.path, expected, found)

    def check_fits(self, lengths: np.ndarray, where: str) -> None:
        """Raises ShardMismatch for a plan of other data. lengths: int64 [row], tokens. where: what the data are."""
        ends = [0, *lengths.cumsum().tolist()]
        after = 0
        for shard in self.shards:
            if shard.start != after or shard.stop >= len(ends) or ends[shard.stop] - ends[shard.start] != shard.tokens:
                raise self.mismatch(f"a plan of {where}", f"one of other rows in shard {shard.name}")
            after = shard.stop
        if after != len(lengths):
            raise self.mismatch(f"a plan of {where}", f"one of {after} rows")

    def save(self, path: str | Path) -> None:
        content = {"base": self.base, "shards": [asdict(shard) for shard in self.shards], "stages": self.stages}
        Path(path).write_text(sealed(KIND, content), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """Raises StoreError where the file is missing, damaged or no plan."""

        def parse(raw: dict[str, Any]) -> Plan:
            if raw.keys() != {"base", "shards", "stages"}:
                raise KeyError("base, shards, stages")
            return cls(raw["base"], [Shard(**shard) for shard in raw["shards"]], raw["stages"], str(path))

        return read_sealed(path, KIND, parse)


def make_plan(data: Rows, shards: int, before: Plan | None = None) -> Plan:
    """Cut the rows of a token data set into `shards` contiguous ranges of about equally many tokens.

    before: the run's plan so far. If the data set has grown behind its rows, their shards stay as they are; the new
    rows become the shards that were added, or join the last one if none was. Otherwise everything is cut anew.
    """
    lengths, before_base = data.lengths, before.base if before else ""
    edges = None if before is None else _grown(data, shards, before.shards)
    tokens = [0, *lengths.cumsum().tolist()]
    cuts = cut(lengths, shards) if edges is None else edges
    made = [
        Shard(shard_name(i), start, stop, tokens[stop] - tokens[start], data.digest(start, stop))
        for i, (start, stop) in enumerate(pairwise(cuts))
    ]
    if edges is not None:
        return Plan(before_base, made)
    whole = hashlib.sha256(" ".join([before_base, *(shard.digest for shard in made)]).encode())
    return Plan(whole.hexdigest()[:32], made)


def cut(lengths: np.ndarray, shards: int) -> list[int]:
    """Edges of `shards` ranges of rows (lengths: int64 [row], tokens) with about equally many tokens.

    Each cut lies at the row edge nearest to its ideal place (the earlier of two), so a shard's tokens differ from
    the mean by at most the longest row. With few rows some shards have none.
    """
    import numpy as np

    if shards < 1:
        raise ValueError(f"at least one shard, not {shards}")
    edges = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    # In units of 1/shards of a token everything is a whole number, and no rounding depends on the machine.
    ideal = np.arange(1, shards, dtype=np.int64) * int(edges[-1])
    after = np.clip(np.searchsorted(edges * shards, ideal), 1, max(len(lengths), 1))
    after = np.minimum(after, len(edges) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.where(ideal - edges[before] * shards <= edges[after] * shards - ideal, before, after)
    return [0, *nearer.tolist(), len(lengths)]


def _grown(data: Rows, shards: int, before: Sequence[Shard]) -> list[int] | None:
    """Edges that keep the shards so far; None where the data have not just grown behind them."""
    rows, added = len(data.lengths), shards - len(before)
    new = rows - before[-1].stop
    if new < 0 or added < 0 or (added and not new):
        return None
    if any(data.digest(shard.start, shard.stop) != shard.digest for shard in before):
        return None
    starts = [shard.start for shard in before]
    if not added:
        return [*starts, rows]
    return starts + [before[-1].stop + edge for edge in cut(data.lengths[-new:], added)]

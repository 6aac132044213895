"""The plan of shards: which rows each scan job takes. Imports neither torch nor datasets."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from gluscope.core.errors import StoreError
from gluscope.core.paths import shard_name

REDO = "run the same command again to redo it"


@dataclass(frozen=True)
class Shard:
    """Rows start to stop - 1 of the token data set; none where the two are equal. tokens: how many those hold."""

    name: str
    start: int
    stop: int
    tokens: int

    @property
    def rows(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Plan:
    """All shards of a token data set (whose fingerprint it names), in the order of their rows."""

    fingerprint: str
    shards: list[Shard]

    def shard(self, name: str) -> Shard:
        """Raises KeyError for a name that the plan lacks."""
        return {shard.name: shard for shard in self.shards}[name]

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """Raises StoreError where the file is missing or is no plan."""
        try:
            raw = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(raw["fingerprint"], [Shard(**shard) for shard in raw["shards"]])
        except FileNotFoundError:
            raise StoreError(str(path), "a plan of shards", "no such file", REDO) from None
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(str(path), "a plan of shards", type(error).__name__, REDO) from error


def make_plan(lengths: np.ndarray, shards: int, fingerprint: str) -> Plan:
    """Cut the rows (lengths: int64 [row], tokens) into contiguous ranges of about equally many tokens.

    Each cut lies at the row edge nearest to its ideal place (the earlier of two), so a shard's tokens differ from
    the mean by at most the longest row. With few rows some shards have none.
    """
    if shards < 1:
        raise ValueError(f"at least one shard, not {shards}")
    edges = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    total = int(edges[-1])
    # In units of 1/shards of a token everything is a whole number, and no rounding depends on the machine.
    ideal = np.arange(1, shards, dtype=np.int64) * total
    after = np.clip(np.searchsorted(edges * shards, ideal), 1, max(len(lengths), 1))
    after = np.minimum(after, len(edges) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.where(ideal - edges[before] * shards <= edges[after] * shards - ideal, before, after)
    cuts = [0, *nearer.tolist(), len(lengths)]
    return Plan(
        fingerprint,
        [
            Shard(shard_name(i), start, stop, int(edges[stop] - edges[start]))
            for i, (start, stop) in enumerate(pairwise(cuts))
        ],
    )

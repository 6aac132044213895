"""Says what a run will take before its first scan, and stops one that takes too much.

The start of Snakemake says it, as far as it is known by then; the job that plans the shards, which runs where Snakemake
does, says it when the tokens are counted. Imports neither torch nor the config.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gluscope.core.cost import Cost, ModelSize, Work, cost
from gluscope.core.errors import ConfigError, GluscopeError
from gluscope.core.paths import RunPaths, results
from gluscope.dataset.plan import Plan, Shard
from gluscope.model.sizes import size_of
from gluscope.model.spec import ModelSpec

# What to set in a run that takes too much, by what takes most.
_LESS = {
    "the cache": "set `cache: false` and `pages_from: replay`",
    "statistics": "set fewer `shards`, a smaller `k` or fewer `samples`",
    "the replay": "list fewer `neurons`",
    "pages": "list fewer `neurons`",
    "all that is asked for": "ask for one run at a time",
}


@dataclass(frozen=True)
class Asked:
    """What the config says of a run, as far as it decides what the run takes. Names are those of its keys.

    model: folder or hub id. patterns: its `neurons`. pages: what pages come from.
    """

    run: str
    model: str
    revision: str | None
    k: int
    samples: int
    cache: bool
    pages: str
    dtype: str
    tf32: bool
    device: str
    patterns: list[str]
    max_length: int
    max_tokens: int | None
    disk_limit_gb: int
    go_on: bool

    def work(self, size: ModelSize, scan: list[Shard], replay: list[Shard]) -> Work:
        """What the scan and the replay of these shards are."""
        rows, tokens = (sum(getattr(shard, name) for shard in scan or replay) for name in ("rows", "tokens"))
        dtype = (size.dtype or "bfloat16") if self.dtype == "auto" else self.dtype
        return Work(
            scan=sum(shard.tokens for shard in scan),
            shards=len(scan),
            replay=sum(shard.tokens for shard in replay),
            replay_shards=len(replay),
            text=-(-tokens // rows) if rows else self.max_length,
            listed=min(size.all_neurons, sum(_neurons(pattern, size) for pattern in self.patterns)),
            k=self.k,
            samples=self.samples,
            cache=self.cache,
            format="tf32" if dtype == "float32" and self.tf32 else dtype,
        )


@dataclass(frozen=True)
class Room:
    """What the disk under results/ has left: bytes, and files where the file system says. Quotas are not in it."""

    bytes: int
    files: int | None

    @classmethod
    def here(cls) -> Room:
        place = results() if os.path.exists(results()) else "."
        found = os.statvfs(place)
        return cls(shutil.disk_usage(place).free, found.f_favail if found.f_files else None)


class Runs(Protocol):
    """What is asked of the workflow."""

    def asked_of(self, run: str) -> Asked: ...


def announce(runs: Runs, jobs: Iterable[tuple[str, Mapping[str, str]]], say: Callable[[str], None]) -> None:
    """Say what the runs that will scan or replay take. jobs: stage and wildcards of each job that will run.

    Raises ConfigError where a run takes more than it may, and that is certain already.
    """
    jobs = list(jobs)
    wanted: dict[str, tuple[set[str], set[str]]] = {}
    for stage, wildcards in jobs:
        if stage in ("scan", "replay"):
            wanted.setdefault(wildcards["run"], (set(), set()))[stage == "replay"].add(wildcards["shard"])
    new_plans = {wildcards["run"] for stage, wildcards in jobs if stage == "plan_shards"}
    room, left = Room.here(), 0
    for run, (scan, replay) in wanted.items():
        asked = runs.asked_of(run)
        size = size_of(asked.model, asked.revision)
        if size is None:
            say(f"{run}: what it takes is said when its model is here and its texts are tokenised, before any scan.")
            continue
        plan = None if run in new_plans else _plan(run)
        if plan is None:
            say(in_general(asked, size))
            continue
        parts = ([shard for shard in plan.shards if shard.name in names] for names in (scan, replay))
        found = cost(size, asked.work(size, *parts))
        left += found.total
        say(in_words(asked, found, room))
        refuse(asked, found, room)
        refuse(asked, replace(found, bytes={"all that is asked for": left}), room, only_room=True)


def of_plan(asked: Asked, spec: ModelSpec, plan: Plan, before: Plan | None, say: Callable[[str], None]) -> None:
    """Say what the scans of a new plan take; raises ConfigError where that is more than the run may.

    before: the plan until now, of which shards that stay, and have been scanned, are not scanned again.
    """
    kept = set(before.shards) if before and before.base == plan.base else set()
    scan = [s for s in plan.shards if s not in kept or not os.path.exists(RunPaths(asked.run).scan(s.name))]
    chosen = spec.mixture.chosen if spec.mixture else 0
    size = size_of(spec.folder) or ModelSize.of(spec.size, spec.d_model, 4 * spec.d_model**2, chosen=chosen)
    size, room = replace(size, dtype=spec.dtype), Room.here()
    replay = plan.shards if asked.pages == "replay" else []
    found = cost(size, asked.work(size, scan, replay))
    say(in_words(asked, found, room))
    refuse(asked, found, room)


def in_words(asked: Asked, found: Cost, room: Room) -> str:
    """What a run takes, in a line."""
    parts = ", ".join(f"{what} {amount(count)}" for what, count in found.bytes.items()) or "nothing"
    disk = f"about {amount(found.total)} in {found.files:,} files under {results()}/ ({parts})"
    return f"{asked.run} takes {disk}, of {amount(room.bytes)} free; {_hours(asked, found)}."


def in_general(asked: Asked, size: ModelSize) -> str:
    """The same for a million tokens, where nobody has counted them."""
    million = Shard("", 0, 1, 1_000_000, "")
    found = cost(size, replace(asked.work(size, [million], []), listed=0, samples=0, k=0))
    cache = found.bytes.get("the cache", 0)
    disk = f"{amount(cache)} of cache" if cache else "no cache"
    most = f" (at most {asked.max_tokens:,} of them)" if asked.max_tokens else ""
    return (
        f"{asked.run} takes, for each million tokens{most}, {disk} and {_hours(asked, found)}; "
        "how much in all is said when the texts are tokenised, before any scan."
    )


def refuse(asked: Asked, found: Cost, room: Room, *, only_room: bool = False) -> None:
    """Raises ConfigError where a run would write more than its limit, or than the disk has room for."""
    if asked.go_on:
        return
    where = RunPaths(asked.run).root
    less = _LESS[max(found.bytes, key=lambda what: found.bytes[what], default="statistics")]
    parts = ", ".join(f"{what} {amount(count)}" for what, count in found.bytes.items())
    takes = f"about {amount(found.total)} ({parts})"
    step = f"{less}; or set `go_on: true` in the run to scan all the same"
    if found.total > room.bytes:
        raise ConfigError(where, f"room for {takes}", f"{amount(room.bytes)} free", step)
    if room.files is not None and found.files > room.files:
        raise ConfigError(where, f"room for {found.files:,} files", f"{room.files:,} free", step)
    if not only_room and found.total > asked.disk_limit_gb * 10**9:
        limit = f"a run that writes at most {amount(asked.disk_limit_gb * 10**9)} (`disk_limit_gb`)"
        raise ConfigError(where, limit, takes, step)


def amount(count: float) -> str:
    """5.2 TB, 37 GB, 812 kB: two or three digits are known of what these numbers say."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return (
                f"{count / size:.3g} {unit}" if count < 1000 * size or unit == "TB" else f"{count / size:,.0f} {unit}"
            )
    return f"{count / 1e3:.3g} kB"


def _hours(asked: Asked, found: Cost) -> str:
    if asked.device == "cpu":
        return "no GPU (`device: cpu`)"
    (scan, replay), (other, _) = found.hours("H100"), found.hours("A100")
    name = {"tf32": "float32 with TF32"}.get(found.format, found.format)
    again = ", at most as many again for the replay" if replay else ""
    if not found.scan:
        return f"at most {_number(replay)} H100 hours for the replay in {name}"
    return f"{_number(scan)} H100 hours (A100: {_number(other)}) for the scan in {name}{again}"


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}" if hours >= 0.001 else "under 0.001"


def _neurons(pattern: str, size: ModelSize) -> int:
    """How many neurons `L5/N7`, `L5/N*` or `L*/E2/N*` names; of several kinds of MLP in a layer at most."""
    layer, *expert, neuron = pattern.split("/")
    if expert and "*" in expert[0]:
        every = size.all_neurons if layer == "L*" else size.d_mlp
        return every if neuron == "N*" else -(-every // max(1, size.expert))
    of_mlp = size.expert if expert and size.expert else size.d_mlp
    return (size.n_layers if layer == "L*" else 1) * (of_mlp if neuron == "N*" else 1)


def _plan(run: str) -> Plan | None:
    try:
        return Plan.read(RunPaths(run).plan)
    except GluscopeError:
        return None


def asked_in(config: Mapping[str, Any], run: str) -> Asked | None:
    """What a job's config carries of it; None for a job that was not started by our Snakefile."""
    found = config.get("costs", {}).get(run)
    return Asked(**found) if found else None

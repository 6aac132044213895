"""Everything that is measured, in one run."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gluscope.bench import forward, profile
from gluscope.bench.fixed import fixed_costs
from gluscope.bench.floor import Machine, measured
from gluscope.bench.growth import Growth, growth
from gluscope.bench.madeup import make_run
from gluscope.bench.merging import Merge, merge
from gluscope.bench.pages import BulkPages, ColdPage, bulk_pages, cold_page
from gluscope.bench.shapes import SHAPES
from gluscope.core.provenance import versions

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure, and how much of it.

    shapes: by name. effort, profiled: of the forward passes. steps: texts at which the reduction is looked at. pages,
    bulk: (shape, tokens in the cache, neurons, shards). merges: (shards, layers, neurons).
    """

    shapes: Sequence[str]
    effort: dict[str, forward.Effort]
    profiled: forward.Effort
    steps: tuple[int, ...]
    pages: Sequence[tuple[str, int, int, int]]
    bulk: tuple[str, int, int, int]
    merges: Sequence[tuple[int, int, int]]
    repeats: int


_FULL = Plan(
    shapes=("d512", "d1024"),
    effort={"d512": forward.Effort(tokens=2500), "d1024": forward.Effort(tokens=1500)},
    profiled=forward.Effort(rounds=8, tokens=1500),
    steps=(16, 64, 256, 512),
    pages=(("d1024", 120_000, 1, 1), ("d1024", 120_000, 1, 8), ("olmo-7b", 180_000, 1, 1), ("olmo-7b", 180_000, 1, 8)),
    bulk=("d1024", 200_000, 128, 8),
    merges=((8, 2, 2752), (64, 2, 2752)),
    repeats=5,
)
_GPU = Plan(
    shapes=("d1024", "olmo-7b", "llama-3.1-8b"),
    effort=dict.fromkeys(
        ("d1024", "olmo-7b", "llama-3.1-8b"), forward.Effort(rounds=8, tokens=65536, straight=1, replay_neurons=256)
    ),
    profiled=forward.Effort(rounds=2, tokens=65536),
    steps=_FULL.steps,
    pages=_FULL.pages,
    bulk=_FULL.bulk,
    merges=_FULL.merges,
    repeats=5,
)
_QUICK = Plan(
    shapes=("tiny",),
    effort={"tiny": forward.Effort(rounds=4, tokens=400, straight=2, replay_neurons=8)},
    profiled=forward.Effort(rounds=1, tokens=400),
    steps=(4, 16),
    pages=(("tiny", 4000, 1, 3),),
    bulk=("tiny", 4000, 4, 2),
    merges=((2, 1, 64), (8, 1, 64)),
    repeats=1,
)


@dataclass
class Results:
    """What one run found. conditions: of the machine, lines for people."""

    device: str
    dtype: str
    conditions: list[str]
    forward: list[forward.Forward] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)
    profiles: list[profile.Profile] = field(default_factory=list)
    ceilings: list[Machine] = field(default_factory=list)
    fixed: dict[str, float] = field(default_factory=dict)
    pages: list[ColdPage] = field(default_factory=list)
    bulk: BulkPages | None = None
    merges: list[Merge] = field(default_factory=list)


def plan_for(device: str, quick: bool) -> Plan:
    """The plan of a device, or the small one of everything."""
    if quick:
        return _QUICK
    return _GPU if device == "cuda" else _FULL


def run(plan: Plan, device: str, dtype: torch.dtype, folder: Path, say: Say) -> Results:
    """Measure all. folder: for files, gigabytes for a moment; on a local disk."""
    start = time.monotonic()
    results = Results(device, str(dtype).removeprefix("torch."), _conditions(device, dtype))

    def step(name: str) -> Path:
        say(f"{time.monotonic() - start:5.0f} s  {name}")
        part = folder / "part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        return part

    # First what starts other processes, while this one is small.
    for shards, layers, neurons in plan.merges:
        results.merges.append(
            merge(step(f"merge of {shards} shards") / "shards", shards, layers, neurons, plan.repeats > 1)
        )
    for name, tokens, neurons, shards in plan.pages:
        made = make_run(
            step(f"a page at the shape of {name}, {shards} shards") / "run", SHAPES[name], tokens, neurons, shards
        )
        results.pages.append(cold_page(made, plan.repeats))
    name, tokens, neurons, shards = plan.bulk
    made = make_run(step(f"{neurons} pages at the shape of {name}") / "run", SHAPES[name], tokens, neurons, shards)
    results.bulk = bulk_pages(made)
    results.fixed = fixed_costs(SHAPES[plan.shapes[0]], device, dtype, step("fixed costs"))
    for name in plan.shapes:
        shape, effort = SHAPES[name], plan.effort[name]
        results.ceilings.append(measured(shape, device, dtype))
        results.forward.append(forward.measure(shape, device, dtype, effort, step(f"forward passes of {name}")))
        step(f"the reduction by number of texts, {name}")
        results.growth.append(growth(shape, device, dtype, plan.steps))
        folder_of_profile = step(f"profile of {name}")
        results.profiles.append(profile.profile(shape, device, dtype, plan.profiled, folder_of_profile))
    step("done")
    results.conditions.append(f"the whole run took {(time.monotonic() - start) / 60:.1f} minutes; load average of the "
                              f"machine during it {os.getloadavg()[2]:.1f}")  # fmt: skip
    return results


def _conditions(device: str, dtype: torch.dtype) -> list[str]:
    found = versions("torch", "transformers", "transformer_lens", "numba", "numpy")
    threads = f"{torch.get_num_threads()} threads, " if device == "cpu" else ""
    return [
        f"{_processor(device)}, {threads}{str(dtype).removeprefix('torch.')}; load average at the start "
        f"{os.getloadavg()[0]:.1f}",
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {number}" for name, number in found.items()),
    ]


def _processor(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"

"""Everything that is measured, in one run."""

from __future__ import annotations

import gc
import os
import platform
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from gluscope.bench import forward, profile
from gluscope.bench.fixed import fixed_costs
from gluscope.bench.floor import Machine, measured
from gluscope.bench.growth import Growth, growth
from gluscope.bench.madeup import make_run
from gluscope.bench.merging import Merge, merge
from gluscope.bench.pages import BulkPages, ColdPage, bulk_pages, cold_page
from gluscope.bench.rounds import Effort
from gluscope.bench.shapes import SHAPES, Shape, make_model
from gluscope.bench.writing import Writing, writing
from gluscope.core.errors import one_line
from gluscope.core.provenance import versions
from gluscope.model.capture import GatedModel
from gluscope.scan.loop import WRITERS

Say = Callable[[str], None]
# The first two start processes of the CPU's, and are measured first, while this one is small.
SECTIONS = ("merge", "pages", "fixed", "writing", "forward", "growth", "profile")
_MOST_BYTES = 20e9


@dataclass(frozen=True)
class Plan:
    """What to measure, and how much of it.

    sections: names of SECTIONS. most_bytes: that caches may take on the disk at a time. shapes: by name. effort,
    profiled: of the forward passes. steps: texts at which the reduction is looked at. pages, bulk: (shape, tokens in
    the cache, neurons, shards). merges: (shards, layers, neurons).
    """

    sections: Sequence[str]
    most_bytes: float
    shapes: Sequence[str]
    effort: dict[str, Effort]
    profiled: Effort
    steps: tuple[int, ...]
    pages: Sequence[tuple[str, int, int, int]]
    bulk: tuple[str, int, int, int]
    merges: Sequence[tuple[int, int, int]]
    written: tuple[int, int]
    repeats: int


_FULL = Plan(
    sections=SECTIONS,
    most_bytes=_MOST_BYTES,
    shapes=("d512", "d1024"),
    effort={"d512": Effort(tokens=2500), "d1024": Effort(tokens=1500)},
    profiled=Effort(rounds=8, tokens=1500),
    steps=(16, 64, 256, 512),
    pages=(("d1024", 120_000, 1, 1), ("d1024", 120_000, 1, 8), ("olmo-7b", 180_000, 1, 1), ("olmo-7b", 180_000, 1, 8)),
    bulk=("d1024", 200_000, 128, 8),
    merges=((8, 2, 2752), (64, 2, 2752)),
    written=(4096, 3 << 30),
    repeats=5,
)
# Merging and pages from a cache are a CPU's work whatever the device. The straightforward way needs a second model
# beside the first and takes many times as long.
_GPU = replace(
    _FULL,
    sections=SECTIONS[2:],
    shapes=("d1024", "olmo-7b", "llama-3.1-8b"),
    effort=dict.fromkeys(
        ("d1024", "olmo-7b", "llama-3.1-8b"), Effort(rounds=8, tokens=65536, straight=0, replay_neurons=256)
    ),
    profiled=Effort(rounds=2, tokens=65536),
)
_QUICK = Plan(
    sections=SECTIONS,
    most_bytes=_MOST_BYTES,
    shapes=("tiny",),
    effort={"tiny": Effort(rounds=4, tokens=400, straight=2, replay_neurons=8)},
    profiled=Effort(rounds=1, tokens=400),
    steps=(4, 16),
    pages=(("tiny", 4000, 1, 3),),
    bulk=("tiny", 4000, 4, 2),
    merges=((2, 1, 64), (8, 1, 64)),
    written=(64, 4 << 20),
    repeats=1,
)


@dataclass
class Results:
    """What one run found. conditions: of the machine, lines for people. failed: parts of it, and why."""

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
    written: list[Writing] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def plan_for(device: str, quick: bool, only: Sequence[str] = (), most_bytes: float | None = None) -> Plan:
    """The plan of a device, or the same with small sizes. only: sections; else all that concern the device."""
    plan = _GPU if device == "cuda" else _FULL
    if quick:
        effort = {
            name: replace(one, straight=one.straight if device == "cpu" else 0) for name, one in _QUICK.effort.items()
        }
        plan = replace(_QUICK, sections=plan.sections, effort=effort)
    return replace(plan, sections=only or plan.sections, most_bytes=most_bytes or plan.most_bytes)


def run(plan: Plan, device: str, dtype: torch.dtype, folder: Path, say: Say) -> Results:
    """Measure what the plan says. folder: for files, gigabytes for a moment; on a local disk.

    What fails is noted, and the rest goes on: a GPU may not be had again soon.
    """
    start = time.monotonic()
    results = Results(device, str(dtype).removeprefix("torch."), _conditions(device, dtype))
    for name, work in _parts(plan, device, dtype, results):
        say(f"{time.monotonic() - start:5.0f} s  {name}")
        part = folder / "part"
        part.mkdir(parents=True)
        try:
            work(part)
        except Exception as error:
            results.failed[name] = one_line(error)
            say(traceback.format_exc())
        finally:
            shutil.rmtree(part)
    taken = f"{(time.monotonic() - start) / 60:.1f} minutes"
    say(f"{time.monotonic() - start:5.0f} s  done")
    load = os.getloadavg()[2]
    results.conditions.append(f"the whole run took {taken}; load average of the machine during it {load:.1f}")
    return results


def _parts(
    plan: Plan, device: str, dtype: torch.dtype, results: Results
) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """What is measured by itself, with its name. A model is made for its parts and let go before the next."""
    if "merge" in plan.sections:
        for shards, layers, neurons in plan.merges:
            yield f"merge of {shards} shards", partial(_merge, plan, results, shards, layers, neurons)
    if "pages" in plan.sections:
        for name, tokens, neurons, shards in plan.pages:
            work = partial(_cold_page, plan, results, SHAPES[name], tokens, neurons, shards)
            yield f"a page at the shape of {name}, {shards} shards", work
        name, tokens, neurons, shards = plan.bulk
        work = partial(_bulk, results, SHAPES[name], tokens, neurons, shards)
        yield f"{neurons} pages at the shape of {name}", work
    if "fixed" in plan.sections:
        yield "fixed costs", partial(_fixed, results, SHAPES[plan.shapes[0]], device, dtype)
    if "writing" in plan.sections:
        yield "writers of a cache", partial(_writing, plan, results)
    for name in plan.shapes:
        shape, kept = SHAPES[name], _Kept(SHAPES[name], device, dtype)
        if "forward" in plan.sections:
            yield f"forward passes of {name}", partial(_forward, plan, results, kept)
        if "profile" in plan.sections:
            yield f"profile of {name}", partial(_profile, plan, results, kept)
        kept.let_go()
        if "growth" in plan.sections:
            yield f"the reduction by number of texts, {name}", partial(_growth, plan, results, shape, device, dtype)


class _Kept:
    """A shape's model, made when it is first asked for."""

    def __init__(self, shape: Shape, device: str, dtype: torch.dtype) -> None:
        self.shape, self._device, self._dtype = shape, device, dtype
        self._model: GatedModel | None = None

    def model(self) -> GatedModel:
        if self._model is None:
            self._model = make_model(self.shape, self._device, self._dtype)
        return self._model

    def let_go(self) -> None:
        """Modules and their hooks refer to one another."""
        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _merge(plan: Plan, results: Results, shards: int, layers: int, neurons: int, folder: Path) -> None:
    results.merges.append(merge(folder / "shards", shards, layers, neurons, plan.repeats > 1))


def _cold_page(
    plan: Plan, results: Results, shape: Shape, tokens: int, neurons: int, shards: int, folder: Path
) -> None:
    results.pages.append(cold_page(make_run(folder / "run", shape, tokens, neurons, shards), plan.repeats))


def _bulk(results: Results, shape: Shape, tokens: int, neurons: int, shards: int, folder: Path) -> None:
    results.bulk = bulk_pages(make_run(folder / "run", shape, tokens, neurons, shards))


def _fixed(results: Results, shape: Shape, device: str, dtype: torch.dtype, folder: Path) -> None:
    results.fixed = fixed_costs(shape, device, dtype, folder)


def _writing(plan: Plan, results: Results, folder: Path) -> None:
    d_model, total = plan.written
    for threads in sorted({1, 2, WRITERS["cuda"]}):
        for nowhere in (True, False):
            results.written.append(writing(d_model, threads, nowhere, total, folder))


def _forward(plan: Plan, results: Results, kept: _Kept, folder: Path) -> None:
    model, shape = kept.model(), kept.shape
    ceiling = measured(shape, model.device.type, model.dtype)
    results.forward.append(forward.measure(model, shape, plan.effort[shape.name], folder, plan.most_bytes))
    results.ceilings.append(ceiling)


def _profile(plan: Plan, results: Results, kept: _Kept, folder: Path) -> None:
    effort = plan.profiled.within(plan.most_bytes, kept.shape)
    results.profiles.append(profile.profile(kept.model(), kept.shape, effort, folder))


def _growth(plan: Plan, results: Results, shape: Shape, device: str, dtype: torch.dtype, folder: Path) -> None:
    results.growth.append(growth(shape, device, dtype, plan.steps))


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

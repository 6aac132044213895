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
from gluscope.core.errors import one_line
from gluscope.core.provenance import versions
from gluscope.scan.loop import writers

from benchmark import forward
from benchmark.clicks import Clicks, clicks
from benchmark.madeup import make_run
from benchmark.merging import Merge, merge
from benchmark.pages import BulkPages, ColdPage, bulk_pages, cold_page
from benchmark.rounds import Effort
from benchmark.shapes import SHAPES, make_model
from benchmark.writing import Writing, writing

Say = Callable[[str], None]
Work = Callable[[Path], None]
# The first two start processes of the CPU's, and are measured first, while this one is small.
SECTIONS = ("merge", "pages", "writing", "forward")


@dataclass(frozen=True)
class Plan:
    """What to measure, and how much of it.

    efforts: of forward passes, by shape. pages, bulk, clicked: (shape, tokens in the cache, neurons, shards).
    merges: (shards, layers, neurons). written: d_model, bytes. sections: names of SECTIONS. most_bytes: that a cache
    may take on the disk.
    """

    efforts: dict[str, Effort]
    pages: Sequence[tuple[str, int, int, int]]
    bulk: tuple[str, int, int, int]
    clicked: tuple[str, int, int, int]
    merges: Sequence[tuple[int, int, int]]
    written: tuple[int, int]
    repeats: int = 5
    sections: Sequence[str] = SECTIONS
    most_bytes: float = 20e9


_FULL = Plan(
    efforts={"d512": Effort(tokens=2500), "d1024": Effort(tokens=1500), "d1024-experts": Effort(tokens=1500)},
    pages=(("d1024", 120_000, 1, 1), ("d1024", 120_000, 1, 8), ("olmo-7b", 180_000, 1, 1), ("olmo-7b", 180_000, 1, 8)),
    bulk=("d1024", 200_000, 128, 8),
    clicked=("olmo-7b", 180_000, 8, 8),
    merges=((8, 2, 2752), (64, 2, 2752)),
    written=(4096, 3 << 30),
)
_GPU_SHAPES = ("d1024", "olmo-7b", "llama-3.1-8b")
# Merging and pages from a cache are a CPU's work whatever the device.
_GPU = replace(
    _FULL,
    efforts=dict.fromkeys(_GPU_SHAPES, Effort(rounds=8, tokens=65536, replay_neurons=256)),
    sections=("writing", "forward"),
)
_QUICK = Plan(
    efforts=dict.fromkeys(("tiny", "tiny-experts"), Effort(rounds=4, tokens=400, replay_neurons=8)),
    pages=(("tiny", 4000, 1, 3),),
    bulk=("tiny", 4000, 4, 2),
    clicked=("tiny", 4000, 2, 2),
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
    pages: list[ColdPage] = field(default_factory=list)
    bulk: BulkPages | None = None
    clicks: Clicks | None = None
    merges: list[Merge] = field(default_factory=list)
    written: list[Writing] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def plan_for(device: str, quick: bool, only: Sequence[str] = (), most_bytes: float = 20e9) -> Plan:
    """The plan of a device, or the same with small sizes. only: sections; else all that concern the device."""
    whole = _GPU if device == "cuda" else _FULL
    return replace(_QUICK if quick else whole, sections=only or whole.sections, most_bytes=most_bytes)


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
    say(f"{time.monotonic() - start:5.0f} s  done")
    taken = f"{(time.monotonic() - start) / 60:.1f} minutes"
    load = os.getloadavg()[2]
    results.conditions.append(f"the whole run took {taken}; load average of the machine during it {load:.1f}")
    return results


def _parts(plan: Plan, device: str, dtype: torch.dtype, results: Results) -> Iterator[tuple[str, Work]]:
    """What is measured by itself, with its name."""
    if "merge" in plan.sections:
        for sizes in plan.merges:
            yield f"merge of {sizes[0]} shards", partial(_merge, plan, results, sizes)
    if "pages" in plan.sections:
        for made in plan.pages:
            yield f"a page at the shape of {made[0]}, {made[3]} shards", partial(_cold_page, plan, results, made)
        yield f"{plan.bulk[2]} pages at the shape of {plan.bulk[0]}", partial(_bulk, plan, results)
        yield f"clicks at the shape of {plan.clicked[0]}", partial(_clicks, plan, results)
    if "writing" in plan.sections:
        yield "writers of a cache", partial(_writing, plan, results)
    if "forward" in plan.sections:
        for name in plan.efforts:
            yield f"forward passes of {name}", partial(_forward, plan, results, name, device, dtype)


def _merge(plan: Plan, results: Results, sizes: tuple[int, int, int], folder: Path) -> None:
    results.merges.append(merge(folder / "shards", *sizes))


def _cold_page(plan: Plan, results: Results, made: tuple[str, int, int, int], folder: Path) -> None:
    results.pages.append(cold_page(make_run(folder / "run", SHAPES[made[0]], *made[1:]), plan.repeats))


def _bulk(plan: Plan, results: Results, folder: Path) -> None:
    results.bulk = bulk_pages(make_run(folder / "run", SHAPES[plan.bulk[0]], *plan.bulk[1:]))


def _clicks(plan: Plan, results: Results, folder: Path) -> None:
    results.clicks = clicks(make_run(folder / "run", SHAPES[plan.clicked[0]], *plan.clicked[1:]), plan.repeats)


def _writing(plan: Plan, results: Results, folder: Path) -> None:
    d_model, total = plan.written
    for threads in sorted({1, 2, writers("cuda")}):
        for nowhere in (True, False):
            results.written.append(writing(d_model, threads, nowhere, total, folder))


def _forward(plan: Plan, results: Results, name: str, device: str, dtype: torch.dtype, folder: Path) -> None:
    try:
        model = make_model(SHAPES[name], device, dtype)
        results.forward.append(forward.measure(model, SHAPES[name], plan.efforts[name], folder, plan.most_bytes))
    finally:  # modules and their hooks refer to one another, and the next model needs the room
        model = None  # type: ignore[assignment]
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()


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

"""What a page costs: cold processes as Snakemake starts them, and a batch of a layer's neurons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gluscope.core.paths import DatasetPaths, RunPaths
from gluscope.core.ranges import as_ranges
from gluscope.recompute.types import Recomputed

from benchmark.madeup import DATA, RUN, MadeUp
from benchmark.timing import Spread

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
HEAVY = ("torch", "transformers", "transformer_lens", "datasets", "zarr", "numba", "pandas", "scipy")
# What runs in the process that is timed: a rule's script with what Snakemake would hand it, then what it has used.
_CHILD = """
import json, sys
from types import SimpleNamespace as Names
stage, given = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, given.pop("scripts"))
class Files(list):
    def __init__(self, named):
        super().__init__(f for v in named.values() for f in (v if isinstance(v, list) else [v]))
        self.__dict__.update(named)
named = {name: Names(**given[name]) for name in ("wildcards", "params", "resources")}
smk = Names(input=Files(given["input"]), output=Files(given["output"]), log=[], threads=2, config={}, **named)
main = __import__(stage).main
main(smk)
io = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
memory = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps({"modules": sorted({m.split(".")[0] for m in sys.modules}), "read": int(io["rchar"]),
                  "memory": int(memory[0]) * 1024}))
"""


@dataclass(frozen=True)
class Process:
    """One process. seconds: from its start to its end. read: bytes by read calls. memory: its peak, bytes."""

    seconds: float
    read: int
    memory: int
    heavy: tuple[str, ...]


@dataclass(frozen=True)
class ColdPage:
    """One neuron's page from the cache, by two fresh processes. disk: with none of the run's files in memory.

    texts, tokens: that it shows.
    """

    made: MadeUp
    texts: int
    tokens: int
    recompute: Spread
    page: Spread
    both: Spread
    disk: Spread
    read: int
    memory: int
    size: int
    heavy: tuple[str, ...]


@dataclass(frozen=True)
class BulkPages:
    """Pages of a batch of a layer's neurons. recompute, page: seconds, and read: bytes, a page; process start
    and imports included.
    """

    made: MadeUp
    count: int
    recompute: float
    page: float
    read: float


def cold_page(made: MadeUp, repeats: int) -> ColdPage:
    """Time the page of neuron 0, each time in fresh processes, with the files in memory and with them not."""
    warm, disk = [], []
    for _ in range(repeats):
        warm.append(_page(made))
        _forget(made.folder)
        disk.append(_page(made))
    size = (made.folder / RunPaths(RUN).page("L0/N0")).stat().st_size
    total = [one.seconds + other.seconds for one, other in warm]
    shown = Recomputed.read(made.folder / RunPaths(RUN).neuron("L0/N0")).lengths
    return ColdPage(
        made,
        len(shown),
        int(shown.sum()),
        Spread.of([one.seconds for one, _ in warm]),
        Spread.of([other.seconds for _, other in warm]),
        Spread.of(total),
        Spread.of([one.seconds + other.seconds for one, other in disk]),
        read=sum(process.read for process in warm[-1]),
        memory=max(process.memory for process in warm[-1]),
        size=size,
        heavy=tuple(sorted({name for pair in warm for process in pair for name in process.heavy})),
    )


def bulk_pages(made: MadeUp) -> BulkPages:
    """All neurons that the made-up run has, by the two jobs of a batch."""
    neurons = as_ranges(range(made.neurons))
    one = _run(made, "recompute", {"layer": "0", "run": RUN}, [], {"neurons": neurons})
    other = _run(made, "page", {"layer": "0", "run": RUN}, [], {"neurons": neurons})
    n = made.neurons
    return BulkPages(made, n, one.seconds / n, other.seconds / n, (one.read + other.read) / n)


def _page(made: MadeUp) -> tuple[Process, Process]:
    wildcards, paths = {"neuron": "L0/N0", "run": RUN}, RunPaths(RUN)
    for path in (paths.neuron("L0/N0"), paths.page("L0/N0")):
        (made.folder / path).unlink(missing_ok=True)
    return (
        _run(made, "recompute", wildcards, [paths.neuron("L0/N0")], {}),
        _run(made, "page", wildcards, [paths.page("L0/N0")], {}),
    )


def _run(made: MadeUp, stage: str, wildcards: dict[str, str], out: Sequence[str], params: dict[str, Any]) -> Process:
    paths = RunPaths(RUN)
    common = {"summary": paths.summary, "model": paths.model, "tokens": DatasetPaths(DATA).tokens, "code": "code.txt"}
    own: dict[str, Any] = {"caches": made.caches}
    if stage == "page":
        own = {
            "weights": paths.weights,
            "neurons": paths.neuron("L0/N0"),
            "neuron": paths.neuron("L0/N0"),
            "effect": [],
            "explanation": [],
        }
    given = {
        "scripts": str(SCRIPTS), "wildcards": wildcards, "input": common | own, "output": {"file": list(out)},
        "params": {"settings": {"pages_from": "cache"}, **params},
        "resources": {"device": "cpu", "batch_tokens": 16384},
    }  # fmt: skip
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, stage, json.dumps(given)],
        cwd=made.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    taken = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    said = json.loads(done.stdout.splitlines()[-1])
    return Process(taken, said["read"], said["memory"], tuple(name for name in HEAVY if name in said["modules"]))


def _forget(folder: Path) -> None:
    """Drop the folder's files from the system's memory; where that is not possible they stay."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in folder.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)

"""What joining shards costs, and how much memory it takes, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gluscope.core.cases import LISTS
from gluscope.summary.file import write_summary
from gluscope.summary.types import LayerSummary, SampleTokens

K = 16
_SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
_CHILD = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from gluscope.summary import shards
paths, out, layers, neurons = json.loads(sys.argv[2])
def peak():
    return [int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
start, before = time.perf_counter(), peak()
shards.merge_shards(paths, out, sign=np.ones((layers, neurons), np.int8))
print(json.dumps([time.perf_counter() - start, peak(), peak() - before]))
"""


@dataclass(frozen=True)
class Merge:
    """memory: the process's peak; more: how far that is above what it had when it began; bytes both."""

    shards: int
    layers: int
    neurons: int
    seconds: float
    memory: int
    more: int
    shard_bytes: int


def merge(folder: Path, shards: int, layers: int, neurons: int) -> Merge:
    """Time the joining of made-up shards. What differs between them are rows, values and lists."""
    folder.mkdir(parents=True)
    paths = write_shards(folder, shards, layers, neurons)
    given = json.dumps([paths, str(folder / "summary.zarr"), layers, neurons])
    command = [sys.executable, "-c", _CHILD, str(_SCRIPTS), given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    seconds, memory, more = json.loads(done.stdout)
    return Merge(shards, layers, neurons, seconds, memory, more, Path(paths[0]).stat().st_size)


def write_shards(folder: Path, shards: int, layers: int, neurons: int, samples: int = 4096) -> list[str]:
    """Statistics as that many jobs could have left them, 1000 rows each."""
    rng = np.random.default_rng(3)
    paths, rows, each = [], 1000, samples // shards
    layer = _lists(rng, neurons, rows)
    layer.sample_gate, layer.sample_in = (rng.normal(size=(neurons, each)).astype(np.float16) for _ in range(2))
    for number in range(shards):
        first = number * rows
        about = {
            "model": "madeup", "dataset_fingerprint": "x", "dataset_rows": shards * rows, "k": K, "convention": "raw",
            "shard": f"{number:04d}", "first_row": first, "last_row": first + rows - 1, "rows": rows,
            "tokens": int(layer.count.sum(1).max()), "device": "cpu", "versions": {},
        }  # fmt: skip
        own = LayerSummary(**vars(layer))
        own.extreme_example = np.where(layer.extreme_example < 0, -1, layer.extreme_example + first)
        own.extreme_value = layer.extreme_value * np.float32(rng.uniform(0.5, 1.5))
        sample = SampleTokens(np.sort(rng.integers(0, rows, each)) + first, np.arange(each, dtype=np.int32))
        paths.append(str(folder / f"{number:04d}.zarr.zip"))
        write_summary(paths[-1], [own] * layers, n_layers=layers, sample=sample, attributes=about)
    return paths


def _lists(rng: np.random.Generator, neurons: int, rows: int) -> LayerSummary:
    layer = LayerSummary.empty(neurons, K)
    layer.count[:] = rng.integers(1, 1 << 18, layer.count.shape)
    layer.sum[:] = rng.normal(size=layer.sum.shape)
    for case, quantity in LISTS:
        at = (slice(None), case.index, quantity.index)
        layer.extreme_value[at] = -np.sort(-rng.exponential(size=(neurons, K)), axis=1) * case.sign(quantity)
        # A row at most once in a list: every neuron's start somewhere, and go on by a step.
        start, step = rng.integers(rows, size=(neurons, 1)), rng.integers(1, rows // K, size=(neurons, 1))
        layer.extreme_example[at] = (start + step * np.arange(K)) % rows
        layer.extreme_position[at] = rng.integers(0, 1024, (neurons, K))
    return layer

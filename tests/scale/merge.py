"""The merge of a large run, measured by hand: `PYTHONPATH=scripts python tests/scale/merge.py FOLDER`.

Stub jobs write made-up statistics of every shard, in the sizes of OLMo-7B by default; the real merge joins them. Prints
wall and CPU time, peak memory, bytes and files of each part. FOLDER is emptied at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gluscope.core.cases import LISTS
from gluscope.summary.file import write_summary
from gluscope.summary.shards import merge_shards
from gluscope.summary.types import LayerSummary, SampleTokens

ROWS = 1000  # texts of a shard


def main() -> None:
    """Read the sizes, write shards until they are all there, merge, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    sizes = {"shards": 64, "layers": 32, "neurons": 11008, "k": 16, "samples": 4096}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--only-merge", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_merge:
        merge(given)
        return
    given.folder.mkdir(parents=True)
    try:
        start = time.monotonic()
        with multiprocessing.Pool() as pool:
            pool.starmap(write_shard, [(given, shard) for shard in range(given.shards)], chunksize=1)
        report("shards written", start, given.folder)
        subprocess.run([sys.executable, *sys.argv, "--only-merge"], check=True)
    finally:
        shutil.rmtree(given.folder)


def merge(given: argparse.Namespace) -> None:
    """The merge in a process of its own, so that its memory is its own."""
    rng = np.random.default_rng(0)
    sign = rng.choice(np.array([-1, 1], np.int8), (given.layers, given.neurons))
    start = time.monotonic()
    merge_shards(sorted(given.folder.glob("*.zip")), given.folder / "summary.zarr", sign=sign, convention="refactored")
    report("merged", start, given.folder / "summary.zarr")
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"  CPU {used.ru_utime + used.ru_stime:.0f} s, peak memory {used.ru_maxrss / 2**20:.2f} GiB")


def report(what: str, start: float, folder: Path) -> None:
    """Time and room taken."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e9
    print(f"{what}: {time.monotonic() - start:.0f} s, {size:.1f} GB in {len(files)} files", flush=True)


def write_shard(given: argparse.Namespace, shard: int) -> None:
    """Statistics as of 1000 texts: full lists, sorted, with rows of this shard; its share of the sample."""
    samples = given.samples * (shard + 1) // given.shards - given.samples * shard // given.shards
    rows = range(shard * ROWS, (shard + 1) * ROWS)
    sample = SampleTokens(np.arange(samples, dtype=np.int64) + rows.start, np.zeros(samples, np.int32))
    about = {
        "model": "made up", "k": given.k, "convention": "raw", "dataset_rows": given.shards * ROWS,
        "shard": f"{shard:04d}", "first_row": rows.start, "last_row": rows.stop - 1, "rows": ROWS, "tokens": 400 * ROWS,
    }  # fmt: skip
    path = given.folder / f"{shard:04d}.zarr.zip"
    write_summary(path, layers(given, shard, samples), n_layers=given.layers, sample=sample, attributes=about)
    os.sync()


def layers(given: argparse.Namespace, shard: int, samples: int) -> Iterator[LayerSummary]:
    """All layers of a shard; lists differ from neuron to neuron and shard to shard."""
    rng = np.random.default_rng(shard)
    one = LayerSummary.empty(given.neurons, given.k, samples)
    one.count[:] = 100 * ROWS
    for case, quantity in LISTS:
        place = slice(None), case.index, quantity.index
        shape = given.neurons, given.k
        one.extreme_value[place] = -np.sort(-rng.gamma(2.0, size=shape).astype(np.float32)) * case.sign(quantity)
        first = rng.integers(0, ROWS, (given.neurons, 1))
        one.extreme_example[place] = shard * ROWS + (first + 59 * np.arange(given.k)) % ROWS
        one.extreme_position[place] = rng.integers(0, 1024, shape)
    one.sample_gate[:] = rng.normal(size=one.sample_gate.shape)
    one.sample_in[:] = rng.normal(size=one.sample_in.shape)
    for layer in range(given.layers):
        one.sum[:] = rng.normal(size=one.sum.shape)
        order = np.roll(np.arange(given.neurons), layer)
        yield LayerSummary(**{name: getattr(one, name)[order] for name in one.__dataclass_fields__})


if __name__ == "__main__":
    main()

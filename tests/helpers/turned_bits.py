"""Bits turned over in every kind of file of a tiny run, read through every stage that reads that file.

`PYTHONPATH=scripts:tests python -m helpers.turned_bits` prints the table that docs/faults.md has.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gluscope.core.errors import GluscopeError, StoreError, WrongFile
from gluscope.core.neuron import NeuronId
from gluscope.dataset.sources import Sources
from gluscope.descriptions.types import Descriptions
from gluscope.export.hf import write_hf
from gluscope.page.pack import unpack
from gluscope.workflow.whole import check_whole
from helpers.damage import altered, files_of, flip
from helpers.tiny_run import TEXTS, TinyRun, written

_BEGIN = '<script type="application/octet-stream" id="data">'
_WORSE = ("named", "traceback", "silent")


@dataclass(frozen=True)
class Reader:
    """Something that reads files of results. again: gives what comes of it, to be compared.

    ours: a stage or command of this workflow, which must refuse in one line. Others, such as a browser, may in any way.
    """

    again: Callable[[], Any]
    ours: bool = True


@dataclass(frozen=True)
class Kind:
    """A kind of file. path: a file or a folder of them; readers: by name."""

    name: str
    path: str
    readers: tuple[str, ...]


def kinds(run: TinyRun) -> list[Kind]:
    """All kinds of files that results rest on, and who reads them."""
    paths, data, export = run.run, run.data, run.run.export
    small = ("plan", "page", "merge")
    return [
        Kind("token data set: Arrow", f"{data.folder}/data-00000-of-00001.arrow", ("plan", "page", "index", "scan")),
        Kind("its checksums", f"{data.folder}/data-00000-of-00001.arrow.crc32c", ("plan", "page")),
        Kind("its state.json", f"{data.folder}/state.json", small),
        Kind("its dataset_info.json", f"{data.folder}/dataset_info.json", small),
        Kind("its tokens.json", data.tokens, (*small, "index")),
        Kind("its source.json", data.source, ("tokenise", "page")),
        Kind("texts made by a rule", TEXTS, ("tokenise",)),
        Kind("model.json", paths.model, ("page", "merge", "index", "recompute from the cache")),
        Kind("plan.json", paths.plan, ("plan", "merge")),
        Kind("activations.json", paths.activations, ("activations",)),
        Kind("scan", f"{paths.root}/scan", ("merge",)),
        Kind("cache", f"{paths.root}/cache", ("recompute from the cache",)),
        Kind("replay", f"{paths.root}/replay", ("recompute from the replay",)),
        Kind("summary", f"{paths.root}/summary.zarr", ("page", "table of neurons", "export hf")),
        Kind("weights", f"{paths.root}/weights.zarr", ("page", "table of neurons")),
        Kind("neuron files", f"{paths.root}/neurons", ("all pages",)),
        Kind("pages", f"{paths.site}/L1", ("index", "browser: page")),
        Kind("finder", f"{paths.site}/finder", ("browser: finder",)),
        Kind("export: hf", f"{export}/hf", ("activations from the export", "all checksums of hf")),
        Kind("export: gluscope-site", f"{export}/gluscope-site", ("copy into a site",)),
        Kind("export: neuronpedia", f"{export}/neuronpedia", ("all checksums of neuronpedia",)),
        Kind("export: neurons.parquet", paths.neurons_table, ("all checksums of the table",)),
        Kind("export: explainers", f"{export}/explainers", ("all checksums of explainers",)),
        Kind("others' descriptions", paths.descriptions, ("descriptions",)),
    ]


def readers(run: TinyRun) -> dict[str, Reader]:
    """Who reads, by name."""
    export, page = run.run.export, NeuronId(1, 7)
    stages: dict[str, Callable[[Path], object]] = {
        "tokenise": run.tokenise,
        "scan": lambda out: run.scan(out, "0000"),
        "merge": run.merge,
        "recompute from the cache": lambda out: run.recompute(out, "cache"),
        "recompute from the replay": lambda out: run.recompute(out, "replay"),
        "index": run.site,
        "table of neurons": run.export_neurons,
        "export hf": lambda out: write_hf(out, run.run.summary, "tiny", lambda text: None),
        "activations from the export": run.take,
        "copy into a site": run.copy_export,
    }
    found = {name: Reader(lambda write=write: written(write)) for name, write in stages.items()}
    return found | {
        "plan": Reader(run.plan_shards),
        "page": Reader(lambda: run.page(page)),
        "all pages": Reader(lambda: [run.page(name) for name in (NeuronId(0, 3), page, NeuronId(1, 9))]),
        "activations": Reader(lambda: Sources.read(run.run.activations)),
        "all checksums of hf": Reader(lambda: check_whole(f"{export}/hf")),
        "all checksums of explainers": Reader(lambda: check_whole(f"{export}/explainers")),
        "descriptions": Reader(lambda: [Descriptions.read(run.run.descriptions).of(1, neuron) for neuron in range(48)]),
        "all checksums of neuronpedia": Reader(lambda: check_whole(f"{export}/neuronpedia")),
        "browser: page": Reader(lambda: [_block(run.run.page(NeuronId(1, neuron))) for neuron in (7, 9)], ours=False),
        "browser: finder": Reader(run.open_finder, ours=False),
        "all checksums of the table": Reader(lambda: check_whole(run.run.neurons_table)),
    }


def _block(path: str) -> Any:
    """What the script of a page unpacks."""
    text = Path(path).read_bytes().decode("ascii", "replace")
    return unpack(text.rpartition(_BEGIN)[2].partition("</script>")[0].strip())


class Trials:
    """Reads after each change, and counts what came of it."""

    def __init__(self, run: TinyRun) -> None:
        self._readers = readers(run)
        self._whole: dict[str, Any] = {}

    def outcome(self, kind: Kind) -> str:
        """What reading comes to: the worst of all readers' outcomes, "named" before "harmless"."""
        return max((self._read(name) for name in kind.readers), key=("harmless", *_WORSE).index)

    def know(self, kind: Kind) -> None:
        """Read everything while it is as it was written."""
        for name in kind.readers:
            if name not in self._whole:
                self._whole[name] = self._readers[name].again()

    def _read(self, name: str) -> str:
        reader = self._readers[name]
        try:
            found = reader.again()
        except GluscopeError as error:
            return "named" if self._can_be_made_again(error) else "traceback"
        except Exception:
            return "traceback" if reader.ours else "named"
        return "harmless" if _same(found, self._whole[name]) else "silent"

    @staticmethod
    def _can_be_made_again(error: GluscopeError) -> bool:
        """One line that names what is to be made again, in which a second look finds the damage too."""
        if "\n" in str(error) or not error.redo:
            return False
        if not isinstance(error, StoreError) or isinstance(error, WrongFile):
            return True
        try:
            for store in error.redo:
                check_whole(store)
        except StoreError:
            return True
        return False


def _same(found: Any, before: Any) -> bool:
    try:
        np.testing.assert_equal(found, before)
    except AssertionError:
        return False
    return True


def turned(run: TinyRun, trials: int, seed: int = 0) -> Iterator[tuple[Kind, Counter[str]]]:
    """Outcomes by kind of file, of `trials` bits each. Half of a kind's bits go by file, half by size."""
    reading, rng = Trials(run), np.random.default_rng(seed)
    for kind in kinds(run):
        reading.know(kind)
        files = files_of(Path(kind.path))
        sizes = np.array([file.stat().st_size for file in files])
        even = rng.integers(len(files), size=trials // 2)
        by_size = rng.choice(len(files), trials - trials // 2, p=sizes / sizes.sum())
        counts: Counter[str] = Counter()
        for number in np.concatenate([even, by_size]).tolist():
            data = files[number].read_bytes()
            with altered(files[number], flip(data, int(rng.integers(8 * len(data))))):
                counts[reading.outcome(kind)] += 1
        yield kind, counts


def exchanged(run: TinyRun) -> dict[str, str]:
    """What comes of one file in another's place, by what was done."""
    paths, reading = run.run, Trials(run)
    root, by_name = paths.root, {kind.name: kind for kind in kinds(run)}
    by_name["pages"] = replace(by_name["pages"], readers=("index",))  # a browser shows what the page says it is
    cases = {
        "count of layer 0 as layer 1's": ("summary", f"{root}/summary.zarr/count/{{}}.0.0", "0", "1"),
        "extremes of layer 0 as layer 1's": ("summary", f"{root}/summary.zarr/extreme_value/{{}}.0.0.0.0", "0", "1"),
        "sampled gate as sampled in": ("summary", f"{root}/summary.zarr/{{}}/1.0.0", "sample_gate", "sample_in"),
        "cosines of layer 0 as layer 1's": ("weights", f"{root}/weights.zarr/cosine/{{}}.0.0", "0", "1"),
        "norms as cosines": ("weights", f"{root}/weights.zarr/{{}}/1.0.0", "norm", "cosine"),
        "cache of layer 0 as layer 1's": ("cache", f"{root}/cache/0000.zarr/x/{{}}.0.0", "0", "1"),
        "cache of shard 0 as shard 1's, a layer": ("cache", f"{root}/cache/{{}}.zarr/x/0.0.0", "0000", "0001"),
        "cache of shard 0 as shard 1's": ("cache", f"{root}/cache/{{}}.zarr", "0000", "0001"),
        "scan of shard 0 as shard 1's": ("scan", f"{root}/scan/{{}}.zarr.zip", "0000", "0001"),
        "replay of shard 0 as shard 1's, values": ("replay", f"{root}/replay/{{}}.zarr/value/0.0", "0000", "0001"),
        "replay of shard 0 as shard 1's": ("replay", f"{root}/replay/{{}}.zarr", "0000", "0001"),
        "a neuron's values as another's": ("neuron files", f"{root}/neurons/L1/{{}}.npz", "N9", "N7"),
        "a neuron's page as another's": ("pages", f"{paths.site}/L1/{{}}.html", "N9", "N7"),
        "finder's layer 0 as layer 1's": ("finder", f"{paths.site}/finder/{{}}.js", "L0", "L1"),
        "model.json as plan.json": ("plan.json", f"{root}/{{}}.json", "model", "plan"),
        "plan.json as model.json": ("model.json", f"{root}/{{}}.json", "plan", "model"),
    }
    found = {}
    for name, (kind, pattern, source, target) in cases.items():
        reading.know(by_name[kind])
        with _in_place_of(Path(pattern.format(source)), Path(pattern.format(target))):
            found[name] = reading.outcome(by_name[kind])
    return found


@contextmanager
def _in_place_of(source: Path, target: Path) -> Iterator[None]:
    kept = target.with_name("kept")
    target.rename(kept)
    try:
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
        yield
    finally:
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        kept.rename(target)


def table(rows: list[tuple[Kind, Counter[str]]]) -> str:
    """In Markdown."""
    lines = ["| kind of file | bits turned over | named | harmless | silent |", "|---|---|---|---|---|"]
    for kind, counts in rows:
        cells = [kind.name, counts.total(), counts["named"], counts["harmless"], counts["silent"] + counts["traceback"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main(trials: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run = TinyRun()
        run.make()
        print(table(list(turned(run, trials))))
        for name, outcome in exchanged(run).items():
            print(f"{name}: {outcome}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100)

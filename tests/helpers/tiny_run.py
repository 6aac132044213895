"""A tiny run with every kind of file under results/, made without Snakemake, and each stage as a function.

A stage's function writes into a folder of its own and gives what it wrote, to be compared with what it gave before.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from gluscope.core.cases import CASES
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import DatasetPaths, RunPaths
from gluscope.dataset.build import build
from gluscope.dataset.plan import Plan, make_plan
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.sources import Sources, fetch
from gluscope.descriptions.types import Description, Descriptions
from gluscope.explain.examples import Split
from gluscope.explain.source import Source
from gluscope.export.explainers import ExplainedNeuron, read_as_text, write_explainers
from gluscope.export.hf import write_hf
from gluscope.export.neuronpedia import Release, write_neuronpedia
from gluscope.export.neurons import write_neurons
from gluscope.export.site_folder import PAGES, merge_into, write_site
from gluscope.export.take import Taking, take_activations
from gluscope.model.describe import describe
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.page.finder import write_finder
from gluscope.page.pack import unpack
from gluscope.page.render import render_page
from gluscope.page.results import RunResults
from gluscope.page.site import read_cards, render_index, write_index
from gluscope.page.tokens import TokenTexts
from gluscope.recompute.stage import Origin, recompute
from gluscope.replay.stage import run_replay
from gluscope.scan.loop import run_scan
from gluscope.scan.sample import choose_sample
from gluscope.store.listing import list_file
from gluscope.summary.file import SummaryReader
from gluscope.summary.shards import OF_DATASET, Whole, merge_shards
from gluscope.weights.file import WeightsReader
from gluscope.weights.products import signs
from gluscope.weights.stage import run_weights
from helpers.settings import scan_settings, token_settings
from helpers.tiny_models import make

TEXTS = "results/sources/texts.jsonl"
NEURONS = {0: [3], 1: [7, 9]}
SHARDS = 2
_WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "dogs", "came", "by", "the", "door", "in", "Paris", "two", "é"]
_CREATED = datetime(2026, 1, 1)


@dataclass(frozen=True)
class TinyRun:
    """Files below the working directory, under the names that the workflow gives them."""

    run: ClassVar = RunPaths("tiny")
    data: ClassVar = DatasetPaths("texts")

    @property
    def files(self) -> Any:
        """What page and export rules have as input."""
        return SimpleNamespace(
            model=self.run.model, tokens=self.data.tokens, tokenizer=[self.data.source],
            summary=self.run.summary, weights=self.run.weights,
        )  # fmt: skip

    def make(self) -> None:
        """Everything, from nothing."""
        make(folder="model", n_layers=2)
        rng = np.random.default_rng(3)
        rows = [{"text": " ".join(rng.choice(_WORDS, n)), "id": f"d{n}"} for n in rng.integers(1, 40, 24).tolist()]
        texts = Path(TEXTS)
        texts.parent.mkdir(parents=True)
        texts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        list_file(texts, texts)
        Path(self.run.root).mkdir(parents=True)
        Path(self.data.folder).parent.mkdir()
        fetch(TEXTS, "model").save(self.data.source)
        self.tokenise(self.data.folder)
        describe("model").save(self.run.model)
        Path(self.run.plan).write_bytes(self.plan_shards())
        fetch(TEXTS, None).save(self.run.activations)
        for shard in ("0000", "0001"):
            self.scan(self.run.root, shard)
        self.merge(Path(self.run.summary).parent)
        self.weights(Path(self.run.weights).parent)
        for shard in ("0000", "0001"):
            self.replay(Path(self.run.replay(shard)).parent, shard)
        self.recompute(self.run.root, "cache")
        for name in (NeuronId(layer, neuron) for layer, neurons in NEURONS.items() for neuron in neurons):
            page = Path(self.run.page(name))
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(self.page(name), encoding="utf-8")
        self.site(self.run.site)
        write_hf(Path(self.run.export_hf).parent, self.run.summary, "tiny", _quiet)
        self.export_site(Path(self.run.export_site).parent)
        self.export_neuronpedia(Path(self.run.export_neuronpedia).parent)
        self.export_neurons(self.run.neurons_table)
        self.export_explainers(Path(self.run.export_explainers).parent)
        said = (Description(CASES[:2], "names of capitals", "somebody", 0.5, "by hand"),)
        Descriptions.build({(1, neuron): said for neuron in NEURONS[1]}, "words").save(self.run.descriptions)

    def tokenise(self, out: str | Path) -> None:
        build(out, Sources.read(self.data.source), token_settings(max_length=32))

    def plan_shards(self) -> bytes:
        before = Plan.read(self.run.plan) if Path(self.run.plan).exists() else None
        plan = make_plan(TokenDataset.open(self.data.folder), SHARDS, before)
        plan.save("plan.json")
        return Path("plan.json").read_bytes()

    def scan(self, out: str | Path, shard: str) -> None:
        settings = scan_settings(k=4, samples=40, device="cpu", reducer="torch")
        folder, plan = self.data.folder, Plan.read(self.run.plan)
        spec, to = ModelSpec.read(self.run.model), Path(out)
        run_scan(spec, folder, plan, shard, settings, to / f"scan/{shard}.zarr.zip", to / f"cache/{shard}.zarr")

    def merge(self, out: str | Path) -> None:
        spec, data, plan = ModelSpec.read(self.run.model), TokenDataset.open(self.data.folder), Plan.read(self.run.plan)
        plan.check_fits(data.lengths, self.data.folder)
        whole = Whole(
            rows={shard.name: (shard.start, shard.stop - 1, shard.digest) for shard in plan.shards},
            plan=plan.base,
            sample=choose_sample(0, data.lengths, 40),
            attributes={key: value for key, value in data.record.attributes.items() if key in OF_DATASET},
        )
        scans = [self.run.scan(f"{shard:04d}") for shard in range(SHARDS)]
        merge_shards(scans, out, sign=_sign(spec), convention="refactored", whole=whole)

    def weights(self, out: str | Path) -> None:
        run_weights(ModelSpec.read(self.run.model), out, say=_quiet)

    def replay(self, out: str | Path, shard: str) -> None:
        plan, spec = Plan.read(self.run.plan), ModelSpec.read(self.run.model)
        run_replay(spec, self.data.folder, plan, shard, self.run.summary, NEURONS, out, device="cpu")

    def recompute(self, out: str | Path, source: Any) -> None:
        spec, kept = ModelSpec.read(self.run.model), {"cache": self.run.cache, "replay": self.run.replay}
        folders = [Path(kept[source](f"{shard:04d}")).parent for shard in range(SHARDS)] if source in kept else []
        for layer, neurons in NEURONS.items():
            files = {neuron: Path(out) / f"neurons/L{layer}/N{neuron}.npz" for neuron in neurons}
            recompute(spec, self.run.summary, self.data.folder, layer, files, Origin(source, folders, "cpu"))

    def page(self, neuron: NeuronId) -> str:
        return render_page(RunResults.open("tiny", self.files).neuron(neuron))

    def site(self, out: str | Path) -> None:
        spec, summary = ModelSpec.read(self.run.model), SummaryReader(self.run.summary)
        provenance, results = summary.provenance, RunResults.open("tiny", self.files)
        weights = WeightsReader.of_run(self.run.weights, provenance)
        layers = ((summary.layer(layer), weights.layer(layer)) for layer in range(2))
        known = {"tokens": provenance.tokens, "convention": provenance.convention}
        finder = write_finder(out, layers, dataset=results.dataset, texts=results.texts, **known)
        cards = read_cards("tiny")
        sizes = {"n_layers": spec.n_layers, "d_mlp": spec.d_mlp}
        write_index(Path(out) / "index.html", render_index(run="tiny", model="m", **sizes, cards=cards, finder=finder))

    def export_site(self, out: str | Path) -> None:
        write_site(out, "tiny", RunResults.open("tiny", self.files).neurons(_LISTED))

    def export_neuronpedia(self, out: str | Path) -> None:
        results = RunResults.open("tiny", self.files)
        origin = Release("tiny", results.provenance, 2, 32, 48, results.dataset.record.longest, _CREATED)
        write_neuronpedia(out, origin, results.neurons(_LISTED))

    def export_neurons(self, out: str | Path) -> None:
        summary = SummaryReader(self.run.summary)
        weights = WeightsReader.of_run(self.run.weights, summary.provenance)
        layers = ((summary.layer(layer), weights.layer(layer)) for layer in range(2))
        write_neurons(out, layers, provenance=summary.provenance, say=_quiet)

    def export_explainers(self, out: str | Path) -> None:
        source = Source.open(self.run.model, self.run.summary, self.data.tokens, self.run.neuron)
        texts = read_as_text(TokenTexts.read(self.data.folder))
        neurons = (
            ExplainedNeuron(name, source.examples(name, Split()), dict.fromkeys(CASES, 0.25), {})
            for name in (NeuronId(layer, neuron) for layer, neurons in NEURONS.items() for neuron in neurons)
        )
        write_explainers(out, neurons, texts)

    def take(self, out: str | Path) -> None:
        spec, tokens = ModelSpec.read(self.run.model), TokenDataset.open(self.data.folder).record
        located = fetch(str(Path(self.run.export_hf).parent), None).source
        take_activations(located, spec, tokens, _sign(spec), Taking(4, "raw", "float32"), out)

    def copy_export(self, out: str | Path) -> None:
        Path(out).mkdir()
        (Path(out) / PAGES).write_text("[]")
        merge_into(Path(self.run.export_site).parent, out)

    def open_finder(self) -> list[Any]:
        """What a browser reads of the finder's files, by the same rules."""
        found = []
        for file in sorted((Path(self.run.site) / "finder").glob("*.js")):
            text = file.read_text(encoding="utf-8")
            header, arrays = unpack(text.removeprefix('gluscopeBlock("').removesuffix('");\n'))
            if "layer" in header:
                says = {f"L{header['layer']}", f"L{header['layer']}-lists"}
            else:
                says = {f"{header['name']}-{header['file']}" if "name" in header else "tokens"}
            if file.stem not in says:
                raise ValueError(f"{file.name} is the file {' or '.join(says)}")
            found += [header, arrays]
        return found


_LISTED = {str(layer): ",".join(map(str, neurons)) for layer, neurons in NEURONS.items()}


def _sign(spec: ModelSpec) -> np.ndarray:
    rows = WeightRows(spec)
    return np.stack([signs(rows.gate_matrix(layer), rows.in_matrix(layer)) for layer in range(spec.n_layers)])


def _quiet(text: str) -> None:
    """Say nothing."""


def written(write: Callable[[Path], object]) -> dict[str, bytes]:
    """What a stage writes: the content of every file, by name. Nothing of it stays."""
    out = Path("again")
    try:
        write(out)
        files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
    finally:
        shutil.rmtree(out) if out.is_dir() else out.unlink(missing_ok=True)

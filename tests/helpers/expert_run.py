"""A scanned tiny mixture of experts in a folder, under no workflow: values, pages and whatever else is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gluscope.core.neuron import NeuronId
from gluscope.page.record import NeuronPage
from gluscope.page.results import RunResults
from gluscope.recompute.stage import Origin, recompute
from gluscope.recompute.types import Recomputed
from gluscope.replay.stage import run_replay
from gluscope.summary.shards import merge_shards
from gluscope.weights.folded import signs_of
from gluscope.weights.stage import run_weights
from helpers.scan_case import Case


@dataclass(frozen=True)
class ExpertRun:
    """A run of one shard, its cache and weights. Replays are made when they are asked for."""

    case: Case
    folder: Path

    @classmethod
    def make(cls, case: Case, convention: Any = "refactored", **settings: Any) -> ExpertRun:
        """Beside the model's folder."""
        folder = case.folder.parent
        case.scan(folder / "0000.zarr.zip", cache=folder / "cache.zarr", **{"reducer": "numba"} | settings)
        merge_shards(
            [folder / "0000.zarr.zip"], folder / "summary.zarr", sign=signs_of(case.spec), convention=convention
        )
        run_weights(case.spec, folder / "weights.zarr", say=lambda *_: None)
        case.spec.save(folder / "model.json")
        return cls(case, folder)

    @property
    def files(self) -> Any:
        """What page and export rules have as input."""
        return SimpleNamespace(
            model=self.folder / "model.json", tokens=self.case.data / "tokens.json",
            summary=self.folder / "summary.zarr", weights=self.folder / "weights.zarr",
        )  # fmt: skip

    @property
    def results(self) -> RunResults:
        return RunResults.open("tiny", self.files)

    def replay(self, out: Path, neurons: Sequence[NeuronId], name: str = "0000", shards: int = 1, **how: Any) -> Any:
        """The replay of a shard."""
        size, by_layer = self.case.spec.size, dict[int, list[int]]()
        for neuron in neurons:
            by_layer.setdefault(neuron.layer, []).append(size.place(neuron))
        plan, summary = self.case.plan_of(shards), self.folder / "summary.zarr"
        return run_replay(self.case.spec, self.case.data, plan, name, summary, by_layer, out, device="cpu", **how)

    def values(self, neuron: NeuronId, source: Any, folder: Path) -> Recomputed:
        """What a neuron has at its texts. folder: for files."""
        kept = {"cache": self.folder / "cache.zarr", "replay": folder / f"replay {str(neuron).replace('/', '-')}"}
        if source == "replay" and not kept["replay"].exists():
            self.replay(kept["replay"], [neuron])
        origin = Origin(source, [kept[source]] if source in kept else [], device="cpu")
        files = {self.case.spec.size.place(neuron): folder / "N.npz"}
        recompute(self.case.spec, self.folder / "summary.zarr", self.case.data, neuron.layer, files, origin)
        return Recomputed.read(folder / "N.npz", neuron)

    def page(self, neuron: NeuronId, source: Any, folder: Path) -> NeuronPage:
        return self.results.neuron(neuron, "", self.values(neuron, source, folder))

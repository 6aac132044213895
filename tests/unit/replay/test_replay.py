"""The replay of a shard: what it keeps, that no cut of the work changes it, and what happens when it fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from gluscope.core.errors import ModelError, ShardMismatch, StoreError
from gluscope.dataset.plan import Plan, Shard
from gluscope.model.rows import WeightRows
from gluscope.recompute.from_replay import from_replay
from gluscope.replay import passes as replay_passes
from gluscope.replay.file import LayerPairs, ReplayReader, ReplayWriter
from gluscope.replay.stage import Replayed, run_replay, wanted_pairs
from gluscope.summary.file import SummaryReader
from gluscope.summary.shards import merge_shards
from gluscope.weights.folded import signs_of
from helpers.brute_scan import forward
from helpers.scan_case import Case, prepare

CHOSEN = {0: [3, 7], 2: range(10)}  # no neuron of layer 1


class Run:
    """A scanned run of one shard, to be replayed in any way."""

    def __init__(self, folder: Path) -> None:
        self.case: Case = prepare(folder, "OlmoForCausalLM", n_layers=4, d_model=16, n_heads=2, d_mlp=10)
        self.folder, self.spec = folder, self.case.spec
        self.summary = folder / "summary.zarr"
        self.case.scan(folder / "0000.zarr.zip")
        merge_shards([folder / "0000.zarr.zip"], self.summary, sign=signs_of(self.spec))
        self.exact = forward(self.case.folder, self.case.ids)

    def replay(self, out: Path, name: str = "0000", shards: int = 1, **how: Any) -> Replayed:
        plan = self.case.plan_of(shards)
        how = {"neurons": CHOSEN, "device": "cpu"} | how
        return run_replay(self.spec, self.case.data, plan, name, self.summary, out=out, **how)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("replay"))


def content(*folders: Path) -> dict[tuple[int, int, int], np.ndarray]:
    """All values by layer, neuron and row."""
    found = {}
    for folder in folders:
        with ReplayReader(folder) as reader:
            for layer, neuron in np.ndindex(reader.n_layers, reader.d_mlp):
                texts = reader.texts(layer, neuron)
                for row, first, tokens in zip(
                    texts.row.tolist(), texts.first.tolist(), texts.tokens.tolist(), strict=True
                ):
                    assert (layer, neuron, row) not in found
                    found[layer, neuron, row] = reader.values(first, tokens)
    return found


def test_keeps_what_pages_show_and_nothing_else(run: Run, tmp_path: Path) -> None:
    done = run.replay(tmp_path / "0000.zarr")
    found = content(tmp_path / "0000.zarr")
    plan = run.case.plan_of(1)
    pairs = wanted_pairs(SummaryReader(run.summary), run.spec, CHOSEN, plan.shards[0])
    expected = {
        (layer, int(neuron), int(row))
        for layer, own in enumerate(pairs)
        for row, neuron in zip(own.row, own.neuron, strict=True)
    }
    assert set(found) == expected
    chosen = {(layer, neuron) for layer, several in CHOSEN.items() for neuron in several}
    assert {(layer, neuron) for layer, neuron, _ in found} == chosen
    assert done.pairs == len(found)
    for (layer, neuron, row), values in found.items():
        assert values.dtype == np.float16
        np.testing.assert_allclose(values, run.exact[row].values[layer, :, neuron, :2], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("shards", "how"),
    [(1, {"batch_tokens": 1}), (1, {"batch_tokens": 60}), (3, {"batch_tokens": 25})],
    ids=["texts", "batches", "shards"],
)
def test_no_cut_of_the_work_changes_it(run: Run, tmp_path: Path, shards: int, how: dict[str, Any]) -> None:
    run.replay(tmp_path / "whole.zarr")
    names = [shard.name for shard in run.case.plan_of(shards).shards]
    for name in names:
        run.replay(tmp_path / f"{name}.zarr", name, shards, **how)
    whole, parts = content(tmp_path / "whole.zarr"), content(*(tmp_path / f"{name}.zarr" for name in names))
    assert set(whole) == set(parts)
    for key, values in whole.items():
        np.testing.assert_allclose(values, parts[key], rtol=2e-3, atol=1e-5)


def test_shards_without_texts_and_no_neurons_at_all(run: Run, tmp_path: Path) -> None:
    plan = run.case.plan_of(60)
    empty = next(shard.name for shard in plan.shards if not shard.rows)
    assert run.replay(tmp_path / "empty", empty, 60) == Replayed(0, 0, 0)
    assert run.replay(tmp_path / "nobody", neurons={}) == Replayed(0, 0, 0)
    assert content(tmp_path / "empty", tmp_path / "nobody") == {}


def test_the_same_work_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run.replay(tmp_path / name)
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
    assert len(files) == 4 + 3 + 7 + 1, "one file an array, whatever the number of layers"


def test_only_layers_and_texts_that_are_needed_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    real = replay_passes.ReplayPasses._use

    def use(self: replay_passes.ReplayPasses, layer: int, x: torch.Tensor, *rest: torch.Tensor) -> None:
        seen.append((layer, x.shape[0] * x.shape[1]))
        real(self, layer, x, *rest)

    monkeypatch.setattr(replay_passes.ReplayPasses, "_use", use)
    done = run.replay(tmp_path / "0000.zarr", neurons={1: [4]})
    assert {layer for layer, _ in seen} == {1}
    assert sum(tokens for _, tokens in seen) == done.tokens
    rows = {row for _, _, row in content(tmp_path / "0000.zarr")}
    assert done.rows == len(rows) < len(run.case.ids)


def test_batches_that_do_not_fit_are_halved(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run.replay(tmp_path / "plenty")
    real = replay_passes.ReplayPasses._use

    def use(self: replay_passes.ReplayPasses, layer: int, x: torch.Tensor, *rest: torch.Tensor) -> None:
        if layer == 2 and x.shape[0] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        real(self, layer, x, *rest)

    monkeypatch.setattr(replay_passes.ReplayPasses, "_use", use)
    run.replay(tmp_path / "little")
    plenty, little = content(tmp_path / "plenty"), content(tmp_path / "little")
    assert set(plenty) == set(little)
    for key, values in plenty.items():
        np.testing.assert_allclose(values, little[key], rtol=2e-3, atol=1e-5)


def test_a_failure_leaves_nothing_and_the_next_run_is_whole(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = ReplayWriter.append, iter(range(1000))

    def append(self: ReplayWriter, *args: Any) -> None:
        if next(calls) == 5:
            raise KeyboardInterrupt
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(ReplayWriter, "append", append)
        with pytest.raises(KeyboardInterrupt):
            run.replay(tmp_path / "0000.zarr")
    assert list(tmp_path.iterdir()) == []
    run.replay(tmp_path / "0000.zarr")
    run.replay(tmp_path / "again.zarr")
    assert content(tmp_path / "0000.zarr").keys() == content(tmp_path / "again.zarr").keys()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[12] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip_bit, Path.unlink])
@pytest.mark.parametrize("name", ["value/0.0", "pairs/0.0", "text/0.0", "longest/0", "zarr.json"])
def test_damage_is_refused_by_name(run: Run, tmp_path: Path, damage: Callable[[Path], None], name: str) -> None:
    if not (whole := run.folder / "whole.zarr").exists():
        run.replay(whole)
    copy = shutil.copytree(whole, tmp_path / "0000.zarr")
    damage(copy / name)
    with pytest.raises(StoreError, match=r"0000\.zarr"):
        content(copy)


def test_texts_that_no_replay_has(run: Run, tmp_path: Path) -> None:
    run.replay(tmp_path / "0000.zarr")
    with ReplayReader(tmp_path / "0000.zarr") as reader:
        for layer, neuron in ((0, 4), (1, 3)):
            with pytest.raises(StoreError, match=f"L{layer}/N{neuron}"):
                from_replay(WeightRows(run.spec), [reader], layer, {neuron: np.array([0])})
        with pytest.raises(IndexError):
            reader.texts(4, 0)


def test_other_data_are_refused(run: Run, tmp_path: Path) -> None:
    plan = Plan("x", [Shard("0000", 0, 2, 7, "another")])
    with pytest.raises(ShardMismatch, match="one of other rows in shard 0000"):
        run_replay(run.spec, run.case.data, plan, "0000", run.summary, CHOSEN, tmp_path / "0000.zarr", device="cpu")


def test_values_beyond_float16_are_refused(tmp_path: Path) -> None:
    pairs = [LayerPairs(np.array([5]), np.array([1]))]
    values = np.array([[1.0, np.inf]], np.float16)
    with (
        pytest.raises(ModelError, match="layer 0"),
        ReplayWriter(tmp_path / "0000.zarr", pairs, [np.array([1])], 3, {}) as writer,
    ):
        writer.append(0, np.array([0]), values)
    assert list(tmp_path.iterdir()) == []


def test_zarr_opens_it(run: Run, tmp_path: Path) -> None:
    run.replay(tmp_path / "0000.zarr")
    group = zarr.open_group(tmp_path / "0000.zarr", mode="r")
    assert group.attrs["model_revision"] == run.spec.revision
    assert list(group["branch"][:]) == ["gate", "in"]
    first, end = group["pairs"][2 * 10 + 6]
    row, start, tokens = group["text"][first]
    expected = run.exact[row].values[2, :, 6, :2]
    np.testing.assert_allclose(group["value"][start : start + tokens], expected, rtol=2e-3, atol=1e-4)
    assert end > first

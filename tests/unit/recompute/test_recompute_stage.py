"""The stage on tiny models from text to files: all sources against float64, and against what the scan listed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gluscope.core.activation import act
from gluscope.core.cases import CASES, LISTS
from gluscope.core.errors import GluscopeError, ShardMismatch, StoreError
from gluscope.core.precision import UNIT_ROUNDOFF
from gluscope.model.capture import GatedModel
from gluscope.recompute import stage
from gluscope.recompute.agreement import agreement
from gluscope.recompute.stage import Origin, recompute
from gluscope.recompute.types import Recomputed
from gluscope.replay import pairs
from gluscope.replay.stage import run_replay
from gluscope.scan import batches
from gluscope.scan.batches import TokenBatch
from gluscope.summary import file as summary_file
from gluscope.summary.shards import merge_shards
from gluscope.weights.folded import signs_of
from helpers.brute_scan import Text, forward
from helpers.scan_case import Case, prepare
from helpers.summaries import read_attributes, read_layer, read_layers, read_sample, read_sign, refactor
from torch.utils._python_dispatch import TorchDispatchMode

MODELS: dict[str, dict[str, Any]] = {
    "LlamaForCausalLM": {},  # with biases
    "Phi3ForCausalLM": {"dtype": "float16"},  # gate and in are one tensor
    "OlmoForCausalLM": {"n_layers": 3},
}
FORWARD = 1e-5  # of the largest value: float32 passes of two or three blocks, and of other batch shapes


class Run:
    """A scanned and merged run in two shards, and its values in float64."""

    def __init__(self, architecture: str, folder: Path) -> None:
        self.case: Case = prepare(
            folder, architecture, **{"d_model": 16, "n_heads": 2, "d_mlp": 10} | MODELS[architecture]
        )
        self.folder, self.spec = folder, self.case.spec
        self.caches = [folder / "cache" / f"{name}.zarr" for name in ("0000", "0001")]
        scans = [folder / "scan" / f"{path.stem}.zarr.zip" for path in self.caches]
        for scan, cache in zip(scans, self.caches, strict=True):
            self.case.scan(scan, cache.stem, 2, cache)
        self.sign = signs_of(self.spec)
        for convention in ("raw", "refactored"):
            merge_shards(scans, self.summary(convention), sign=self.sign, convention=convention)
        self.replays = [folder / "replay" / path.name for path in self.caches]
        plan, neurons = self.case.plan_of(2), dict.fromkeys(range(self.spec.n_layers), range(10))
        for path in self.replays:
            run_replay(self.spec, self.case.data, plan, path.stem, self.summary(), neurons, path, device="cpu")
        self.exact: list[Text] = forward(self.case.folder, self.case.ids)

    def summary(self, convention: str = "raw") -> Path:
        return self.folder / f"{convention}.zarr"

    def recompute(
        self, out: Path, source: Any, layer: int, neurons: range, convention: str = "raw"
    ) -> list[Recomputed]:
        files = {neuron: out / source / f"L{layer}" / f"N{neuron}.npz" for neuron in neurons}
        folders = {"cache": self.caches, "replay": self.replays, "model": []}[source]
        origin = Origin(source, folders, "cpu", batch_tokens=40)
        recompute(self.spec, self.summary(convention), self.case.data, layer, files, origin)
        return [Recomputed.read(file) for file in files.values()]

    def check(self, found: Recomputed) -> None:
        """Every value against float64: x's rounding in the cache, bounded by |x| |w|, and the forward pass's."""
        assert found.lengths.tolist() == [len(self.case.ids[row]) for row in found.rows]
        exact = np.concatenate([self.exact[row].values[found.layer, :, found.neuron] for row in found.rows])
        for values, column, bound in ((found.gate, 0, found.gate_bound), (found.in_, 1, found.in_bound)):
            assert np.abs(exact[:, column]).max() <= bound * (1 + FORWARD)
            largest = np.abs(values - exact[:, column]).max()
            assert largest <= bound * (UNIT_ROUNDOFF[found.dtype] + FORWARD)


@pytest.fixture(scope="module", params=list(MODELS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(request.param, tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(("source", "dtype"), [("cache", "float16"), ("replay", "float16"), ("model", "float32")])
def test_values_are_those_of_a_float64_pass(run: Run, tmp_path: Path, source: str, dtype: str) -> None:
    for layer in (0, run.spec.n_layers - 1):
        whole = read_layer(run.summary(), layer)
        for found in run.recompute(tmp_path, source, layer, range(10)):
            run.check(found)
            part = whole.neuron(found.neuron)
            listed = {int(row) for c, q in LISTS for row in part.extreme_example[0, c.index, q.index]} - {-1}
            assert listed <= set(found.rows.tolist())
            assert (found.source, found.dtype, found.layer) == (source, dtype, layer)
            result = agreement(part, found, act(run.spec.act_fn), "float32")
            assert result.compared == sum(int((part.extreme_example[0, c.index, q.index] >= 0).sum()) for c, q in LISTS)
            u = UNIT_ROUNDOFF[dtype] + FORWARD
            assert result.absolute <= 3 * u * found.gate_bound * (1 + found.in_bound) + u * found.in_bound


def test_texts_of_other_lengths_in_a_batch_change_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where a little padding is computed: fewer passes, and no value of a padded place."""
    passes: list[bool] = []
    real = GatedModel.forward

    def forward(model: GatedModel, ids: Any, *others: Any, **keys: Any) -> None:
        passes.append(bool((torch.as_tensor(ids) == 0).any()))
        real(model, ids, *others, **keys)

    monkeypatch.setattr(GatedModel, "forward", forward)
    layer = run.spec.n_layers - 1
    run.recompute(tmp_path / "alone", "model", layer, range(6))
    alone = len(passes)
    passes.clear()
    monkeypatch.setitem(batches.PADDING, "cpu", 0.05)
    for found in run.recompute(tmp_path / "padded", "model", layer, range(6)):
        run.check(found)
    assert len(passes) < alone
    assert any(passes)
    replay = tmp_path / "0000.zarr"
    plan, neurons = run.case.plan_of(1), {layer: range(6)}
    run_replay(run.spec, run.case.data, plan, replay.stem, run.summary(), neurons, replay, device="cpu")
    files = {neuron: tmp_path / f"{neuron}.npz" for neuron in range(6)}
    recompute(run.spec, run.summary(), run.case.data, layer, files, Origin("replay", [replay]))
    for file in files.values():
        run.check(Recomputed.read(file))


def test_a_pass_for_pages_that_does_not_fit_is_halved(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = GatedModel.forward
    failed: list[int] = []

    def forward(model: GatedModel, ids: Any, *others: Any, **keys: Any) -> None:
        if len(ids) > 2:
            failed.append(len(ids))
            raise torch.OutOfMemoryError("CUDA out of memory")
        real(model, ids, *others, **keys)

    monkeypatch.setattr(GatedModel, "forward", forward)
    monkeypatch.setitem(batches.PADDING, "cpu", 0.05)
    for found in run.recompute(tmp_path, "model", 1, range(3)):
        run.check(found)
    assert failed


def test_the_work_for_many_texts_is_that_for_one() -> None:
    """Operations of torch a layer, of which each costs a launch on a GPU."""
    counts = []
    for texts in (2, 40):
        lengths = np.arange(1, texts + 1)[::-1].copy()
        batch = TokenBatch(np.arange(texts), lengths, np.zeros((texts, texts), np.int64))
        gate, in_, x = (torch.randn(texts, texts, 7) for _ in range(3))
        example = np.repeat(np.arange(texts), 2)
        neuron = np.tile([2, 5], texts)
        with Counted() as counted:
            found = pairs.PairIndex(batch, example, neuron, torch.device("cpu")).of(gate, in_)
            norms = pairs.longest(batch, x)
        counts.append(counted.operations)
        expected = [
            torch.stack([gate[e, : lengths[e], n], in_[e, : lengths[e], n]], -1)
            for e, n in zip(example, neuron, strict=True)
        ]
        assert torch.equal(found, torch.cat(expected))
        for text, length in enumerate(lengths):
            assert norms[text] == pytest.approx(float(x[text, :length].square().sum(-1).max().sqrt()), rel=1e-6)
    assert counts[0] == counts[1]


class Counted(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return function(*args, **(kwargs or {}))


def test_sources_agree_and_choose_the_same_texts(run: Run, tmp_path: Path) -> None:
    sources = ("cache", "replay", "model")
    for cached, replayed, fresh in zip(*(run.recompute(tmp_path, s, 1, range(4)) for s in sources), strict=True):
        u = UNIT_ROUNDOFF["float16"] + FORWARD
        for other in (cached, replayed):
            np.testing.assert_array_equal(other.rows, fresh.rows)
            assert np.abs(other.gate - fresh.gate).max() <= u * fresh.gate_bound
            assert np.abs(other.in_ - fresh.in_).max() <= u * fresh.in_bound
            assert other.gate_bound == pytest.approx(fresh.gate_bound, rel=1e-3)
        # a replay rounds the values themselves, once
        assert (np.abs(replayed.gate - fresh.gate) <= 2.0**-11 * np.abs(fresh.gate) + FORWARD * fresh.gate_bound).all()


def test_one_and_many_neurons_give_the_same(run: Run, tmp_path: Path) -> None:
    many = run.recompute(tmp_path / "many", "cache", 0, range(10))
    for neuron in (0, 9):
        (one,) = run.recompute(tmp_path / "one", "cache", 0, range(neuron, neuron + 1))
        np.testing.assert_array_equal(one.rows, many[neuron].rows)
        np.testing.assert_allclose(one.gate, many[neuron].gate, atol=1e-6 * one.gate_bound)


@pytest.mark.parametrize(("source", "opened"), [("cache", 3), ("model", 4)])
def test_neurons_whose_values_have_no_room_together_take_turns(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, opened: int
) -> None:
    together = run.recompute(tmp_path / "together", source, 0, range(10))
    sizes = [found.gate.nbytes + found.in_.nbytes for found in together]
    monkeypatch.setattr(summary_file, "_FEW", 1)
    monkeypatch.setattr(stage, "_ROOM", max(sizes) * opened)
    passes, values = [], stage._values
    monkeypatch.setattr(stage, "_values", lambda *how: passes.append(list(how[4])) or values(*how))
    apart = run.recompute(tmp_path / "apart", source, 0, range(10))
    assert list(chain(*passes)) == list(range(10))
    assert len(passes) > 1
    assert all(sum(sizes[neuron] for neuron in part) <= max(sizes) * opened for part in passes)
    for left, right in zip(together, apart, strict=True):
        np.testing.assert_array_equal(left.rows, right.rows)
        np.testing.assert_allclose(left.gate, right.gate, atol=FORWARD * left.gate_bound)
    passes.clear()
    assert run.recompute(tmp_path, source, 0, range(0)) == []
    assert passes == []


def test_values_are_raw_whatever_the_runs_convention(run: Run, tmp_path: Path) -> None:
    assert (run.sign[0] < 0).any()
    raw, other = (run.recompute(tmp_path / how, "cache", 0, range(10), how) for how in ("raw", "refactored"))
    for left, right in zip(raw, other, strict=True):
        for name in ("rows", "gate", "in_"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    refactored, whole = read_layer(run.summary("refactored"), 0), read_layer(run.summary(), 0)
    back = refactor(refactored, run.sign[0])
    for case in CASES:
        np.testing.assert_array_equal(back.extreme_value[:, case.index], whole.extreme_value[:, case.index])


def test_a_cache_of_other_texts_is_refused_by_the_neurons_name(run: Run, tmp_path: Path) -> None:
    """The cache says the right model and data, but two texts of equal length have changed places."""
    from gluscope.cache.reader import CacheReader
    from gluscope.cache.writer import CacheWriter

    with CacheReader(run.caches[0]) as old:
        x = [np.concatenate([old.read(layer, row) for row in old.rows.tolist()]) for layer in range(run.spec.n_layers)]
        rows, lengths, about = np.roll(old.rows, 1), np.roll(old.lengths, 1), old.attributes
    how = {"n_layers": run.spec.n_layers, "d_model": run.spec.d_model, "dtype": "float16"}
    with CacheWriter(tmp_path / "0000.zarr", rows=rows, lengths=lengths, attributes=about, **how) as writer:
        for layer, values in enumerate(x):
            writer.append(layer, values.astype(np.float16))
    origin = Origin("cache", [tmp_path / "0000.zarr", run.caches[1]])
    with pytest.raises(StoreError, match=r"L1/N3 .*") as error:
        recompute(run.spec, run.summary(), run.case.data, 1, {3: tmp_path / "N3.npz"}, origin)
    assert "are of the same model" in str(error.value)
    assert "pages_from: model" in str(error.value)
    assert "remove" not in str(error.value), "the scan is right"
    assert not (tmp_path / "N3.npz").exists()


def test_published_statistics_which_have_no_positions(run: Run, tmp_path: Path) -> None:
    """The same values as for a scan's; those of other texts are refused, and the texts are what to look at."""

    about = read_attributes(run.summary())
    layers, sample, sign = list(read_layers(run.summary())), read_sample(run.summary()), run.sign
    rows = int(about["rows"])

    def published(name: str, shift: int) -> Path:
        changed = [
            replace(
                layer,
                extreme_position=np.full_like(layer.extreme_position, -1),
                extreme_example=np.where(layer.extreme_example < 0, -1, (layer.extreme_example + shift) % rows),
            )
            for layer in layers
        ]
        about["activations"] = {"id": "user/acts"}
        summary_file.write_summary(
            tmp_path / name, changed, n_layers=len(layers), sample=sample, attributes=about, sign=sign
        )
        return tmp_path / name

    outputs = {neuron: tmp_path / f"N{neuron}.npz" for neuron in range(10)}
    recompute(run.spec, published("same", 0), run.case.data, 1, outputs, Origin("model", device="cpu", batch_tokens=40))
    for path, scanned in zip(outputs.values(), run.recompute(tmp_path / "scan", "model", 1, range(10)), strict=True):
        found = Recomputed.read(path)
        np.testing.assert_array_equal(found.rows, scanned.rows)
        np.testing.assert_array_equal(found.gate, scanned.gate)
    with pytest.raises(StoreError, match=r"Next: name, under `model` and `dataset`, what these activations were"):
        recompute(run.spec, published("other", 1), run.case.data, 1, outputs, Origin("model", device="cpu"))


def test_a_cache_of_another_model_is_refused_by_its_name(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.summary(), tmp_path / "summary.zarr")

    about = {**read_attributes(copy), "model_revision": "sha256:other"}
    layers = list(read_layers(copy))
    sample, sign = read_sample(copy), read_sign(copy)
    summary_file.write_summary(copy, layers, n_layers=len(layers), sample=sample, attributes=about, sign=sign)
    with pytest.raises(ShardMismatch, match=r"0000\.zarr.*sha256:other"):
        recompute(run.spec, copy, run.case.data, 0, {3: tmp_path / "N3.npz"}, Origin("cache", run.caches))


def test_another_models_weights_are_refused(run: Run, tmp_path: Path) -> None:
    how = {"d_model": 16, "n_heads": 2, "d_mlp": 10} | MODELS[run.spec.architecture]
    other = prepare(tmp_path, run.spec.architecture, seed=1, **how)
    wrong = replace(run.spec, folder=other.spec.folder)
    with pytest.raises(GluscopeError, match="L0/N3"):
        recompute(wrong, run.summary(), run.case.data, 0, {3: tmp_path / "N3.npz"}, Origin("cache", run.caches))

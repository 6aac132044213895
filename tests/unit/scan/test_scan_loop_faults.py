"""What goes wrong in a scan: nothing half-written, memory that does not suffice, damage, values that are not finite."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gluscope.cache.reader import CacheReader
from gluscope.cache.writer import CacheWriter
from gluscope.core.errors import DatasetError, GluscopeError, ModelError, ShardMismatch, StoreError
from gluscope.dataset.plan import Plan
from gluscope.model.capture import GatedModel
from gluscope.model.describe import describe
from gluscope.scan import passes
from gluscope.scan.copies import HostCopies
from gluscope.scan.memory import is_out_of_memory
from gluscope.scan.passes import Passes
from gluscope.scan.reduce import TorchReducer, _TorchState
from helpers.scan_case import Case, prepare
from helpers.summaries import read_attributes, read_layer, read_sample
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return prepare(tmp_path_factory.mktemp("faults"), "OlmoForCausalLM", n_layers=3, d_model=16, n_heads=2, d_mlp=10)


def same_results(case: Case, left: Path, right: Path, rtol: float) -> None:
    """rtol: of values, whose last bits may differ where batches had other shapes."""
    for layer in range(case.spec.n_layers):
        one, two = read_layer(left, layer), read_layer(right, layer)
        np.testing.assert_array_equal(one.count, two.count)
        np.testing.assert_allclose(one.sum, two.sum, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(one.extreme_value, two.extreme_value, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(one.sample_gate, two.sample_gate, rtol=1e-3, atol=1e-4)


def same_caches(case: Case, left: Path, right: Path) -> None:
    with CacheReader(left) as one, CacheReader(right) as two:
        np.testing.assert_array_equal(one.rows, two.rows)
        for layer, row in np.ndindex(case.spec.n_layers, len(case.ids)):
            np.testing.assert_allclose(one.read(layer, row), two.read(layer, row), rtol=2e-3, atol=1e-3)


class LittleMemory:
    """Fails at a layer of every pass of more than `tokens` tokens, as an allocator would."""

    def __init__(self, tokens: int, layer: int, error: Callable[[], BaseException]) -> None:
        self.tokens, self.layer, self.error = tokens, layer, error
        self.sizes: list[int] = []

    def install(self, patch: pytest.MonkeyPatch) -> None:
        real = passes._OnDevice.sampled
        memory = self

        def sampled(batch: passes._OnDevice, gate: torch.Tensor, in_: torch.Tensor) -> torch.Tensor | None:
            # Called once a layer, after the values are there and before they are reduced.
            layer = batch.__dict__.setdefault("seen", 0)
            batch.__dict__["seen"] += 1
            if layer == 0:
                memory.sizes.append(gate.shape[0] * gate.shape[1])
            if layer >= memory.layer and gate.shape[0] * gate.shape[1] > memory.tokens:
                raise memory.error()
            return real(batch, gate, in_)

        patch.setattr(passes._OnDevice, "sampled", sampled)


def gpu_error() -> BaseException:
    return torch.OutOfMemoryError("CUDA out of memory")


def cpu_error() -> BaseException:
    return RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("error", [gpu_error, cpu_error])
def test_batches_that_do_not_fit_are_halved(
    tmp_path: Path, case: Case, layer: int, error: Callable[[], BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    case.scan(tmp_path / "plenty.zarr.zip", cache=tmp_path / "plenty")
    memory = LittleMemory(30, layer, error)
    memory.install(monkeypatch)
    done = case.scan(tmp_path / "little.zarr.zip", cache=tmp_path / "little")
    assert done.halved > 0
    assert max(memory.sizes) > 30
    same_results(case, tmp_path / "plenty.zarr.zip", tmp_path / "little.zarr.zip", 1e-4)
    same_caches(case, tmp_path / "plenty", tmp_path / "little")


def test_later_batches_are_cut_beforehand(tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = LittleMemory(30, 0, gpu_error)
    memory.install(monkeypatch)
    done = case.scan(tmp_path / "out.zarr.zip")
    assert sum(size > 30 for size in memory.sizes) == done.halved
    assert memory.sizes[-1] <= 30
    assert done.halved < 8


def test_a_text_that_does_not_fit_alone_is_refused(tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    LittleMemory(5, 1, gpu_error).install(monkeypatch)
    with pytest.raises(ModelError, match=r"row \d+ of the token data set: expected memory for a text on cpu"):
        case.scan(tmp_path / "out.zarr.zip", cache=tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_a_text_gets_what_others_have_left_behind(tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """cuBLAS cannot use what torch keeps for later: memory is given back, and then there is enough."""
    case.scan(tmp_path / "plenty.zarr.zip")
    full = [True]
    monkeypatch.setattr(passes, "free_memory", full.clear)
    real = GatedModel.forward

    def forward(model: GatedModel, *arguments: Any, **keys: Any) -> None:
        if full and arguments and len(arguments[0]) == 1 and "stop_at_layer" in keys and len(arguments) > 1:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`")
        real(model, *arguments, **keys)

    monkeypatch.setattr(GatedModel, "forward", forward)
    done = case.scan(tmp_path / "little.zarr.zip", batch_tokens=1)
    assert not full
    assert done.halved == 0
    same_results(case, tmp_path / "plenty.zarr.zip", tmp_path / "little.zarr.zip", 1e-4)


@pytest.mark.parametrize("where", [(_TorchState, "_entered"), (HostCopies, "begin")])
def test_a_reduction_or_copy_that_does_not_fit_is_halved_and_counts_nothing_twice(
    tmp_path: Path, case: Case, where: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists in the middle of the reduction, and the host's pinned memory beside it."""
    case.scan(tmp_path / "plenty.zarr.zip", cache=tmp_path / "plenty")
    real, failed = getattr(*where), []

    def little(self: object, first: torch.Tensor, *others: torch.Tensor) -> object:
        if len(first) > (3 if where[0] is _TorchState else 30):
            failed.append(len(first))
            raise RuntimeError("CUDA error: out of memory")
        return real(self, first, *others)

    monkeypatch.setattr(*where, little)
    done = case.scan(tmp_path / "little.zarr.zip", cache=tmp_path / "little")
    assert done.halved == len(failed) > 0
    same_results(case, tmp_path / "plenty.zarr.zip", tmp_path / "little.zarr.zip", 1e-4)
    same_caches(case, tmp_path / "plenty", tmp_path / "little")


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",  # pinned memory
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "Triton Error [CUDA]: out of memory",
        "CUDA driver error: out of memory",
        "HIP out of memory. Tried to allocate 2.00 GiB",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_all_ways_to_say_that_memory_ran_out_are_understood(said: str) -> None:
    assert is_out_of_memory(RuntimeError(said))
    assert not is_out_of_memory(ValueError(said))


@pytest.mark.parametrize(
    "said", ["CUDA error: an illegal memory access was encountered", "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"]
)
def test_other_errors_of_a_gpu_are_not_taken_for_it(said: str) -> None:
    assert not is_out_of_memory(RuntimeError(said))


def test_other_runtime_errors_are_not_taken_for_little_memory(
    tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    LittleMemory(5, 1, lambda: RuntimeError("something else")).install(monkeypatch)
    with pytest.raises(RuntimeError, match="something else"):
        case.scan(tmp_path / "out.zarr.zip")


def fail_at(number: int, real: Callable) -> Callable:
    """`real`, but for its call `number`."""
    calls = iter(range(1_000_000))

    def call(*args: object, **keys: object) -> object:
        if next(calls) == number:
            raise KeyboardInterrupt
        return real(*args, **keys)

    return call


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (GatedModel, "forward", 1),  # the first is the model's own try-out
        (GatedModel, "forward", 4),
        (TorchReducer, "update", 7),
        (Passes, "finish", 0),
        (TorchReducer, "layer_summary", 0),
        (TorchReducer, "layer_summary", 2),
        (CacheWriter, "append", 3),
        (os, "rename", 0),  # the cache gets its name
    ],
)
def test_a_scan_that_is_cut_leaves_nothing(
    tmp_path: Path, case: Case, owner: object, name: str, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail_at(call, getattr(owner, name)))
        with pytest.raises(KeyboardInterrupt):
            case.scan(tmp_path / "out.zarr.zip", cache=tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []
    case.scan(tmp_path / "out.zarr.zip", cache=tmp_path / "cache")
    assert {path.name for path in tmp_path.iterdir()} == {"out.zarr.zip", "cache"}


def test_the_cache_is_complete_before_the_statistics(
    tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    from gluscope.store import atomic

    def replaced(source: object, target: object, real: Callable = atomic.os.replace) -> None:
        if str(target).endswith(".zip"):
            seen.append((tmp_path / "cache/zarr.json").is_file())
        real(source, target)

    monkeypatch.setattr(atomic.os, "replace", replaced)
    case.scan(tmp_path / "out.zarr.zip", cache=tmp_path / "cache")
    assert seen == [True]


def changed(case: Case, folder: Path, name: str, place: tuple, value: float) -> Case:
    """The case with one number of its weights changed."""
    shutil.copytree(case.folder, folder)
    weights = load_file(folder / "model.safetensors")
    weights[name][place] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return replace(case, folder=folder, spec=describe(str(folder), None))


@pytest.mark.parametrize("reducer", ["torch", "numba"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_by_layer(
    tmp_path: Path, case: Case, value: float, reducer: str
) -> None:
    bad = changed(case, tmp_path / "model", "model.layers.1.mlp.up_proj.weight", (3, 2), value)
    with pytest.raises(ModelError, match="layer 1: expected finite activations"):
        bad.scan(tmp_path / "out.zarr.zip", cache=tmp_path / "cache", reducer=reducer)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_x_beyond_float16_is_refused_and_fits_bfloat16(tmp_path: Path, case: Case) -> None:
    large = tmp_path / "model"
    from helpers.tiny_models import make

    make("LlamaForCausalLM", large, n_layers=2, d_model=16, n_heads=2, d_mlp=10)
    weights = load_file(large / "model.safetensors")
    weights["model.layers.1.post_attention_layernorm.weight"] *= 1e6
    save_file(weights, large / "model.safetensors", {"format": "pt"})
    large_case = replace(case, folder=large, spec=describe(str(large), None))
    with pytest.raises(GluscopeError, match=r"layer 1: .*bfloat16"):
        large_case.scan(tmp_path / "out.zarr.zip", cache=tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    large_case.scan(tmp_path / "out.zarr.zip", cache=tmp_path / "cache", cache_dtype="bfloat16")
    with CacheReader(tmp_path / "cache") as cache:
        assert np.abs(cache.read(1, 0)).max() > 65504
    # A sample is float16 whatever comes: what is beyond stands at the edge, so that pages can draw it.
    assert np.isfinite(read_layer(tmp_path / "out.zarr.zip", 1).sample_gate).all()


def test_an_empty_shard_is_written_without_a_model(tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GatedModel, "__init__", None)
    shards = 3 * len(case.ids)
    empty = next(shard for shard in case.plan_of(shards).shards if shard.rows == 0)
    done = case.scan(tmp_path / "out.zarr.zip", empty.name, shards, cache=tmp_path / "cache")
    assert (done.rows, done.tokens) == (0, 0)
    summary = read_layer(tmp_path / "out.zarr.zip", 2)
    assert summary.count.shape == (case.spec.d_mlp, 4)
    assert not summary.count.any()
    assert np.isnan(summary.extreme_value).all()
    assert len(read_sample(tmp_path / "out.zarr.zip").example) == 0
    assert read_attributes(tmp_path / "out.zarr.zip")["rows"] == 0
    with CacheReader(tmp_path / "cache") as cache:
        assert (len(cache.rows), cache.tokens, cache.n_layers) == (0, 0, 3)


def test_damaged_tokens_are_refused_by_name(tmp_path: Path, case: Case) -> None:
    data = tmp_path / "tokens"
    shutil.copytree(case.data, data)
    arrow = next(data.glob("*.arrow"))
    content = bytearray(arrow.read_bytes())
    content[len(content) // 2] ^= 1
    arrow.write_bytes(content)
    with pytest.raises(StoreError, match=f"{arrow}: expected sha256"):
        replace(case, data=data).scan(tmp_path / "out.zarr.zip")
    assert not (tmp_path / "out.zarr.zip").exists()


def test_a_plan_of_other_data_is_refused(tmp_path: Path, case: Case) -> None:
    def other_rows(shards: int) -> Plan:
        plan = case.plan_of(shards)
        return replace(plan, shards=[replace(shard, digest="other") for shard in plan.shards])

    other = replace(case, plan_of=other_rows)
    with pytest.raises(ShardMismatch, match=r"shard 0000 rows .* with digest other, as in the plan, found \w+"):
        other.scan(tmp_path / "out.zarr.zip")


def test_token_ids_that_the_model_lacks_are_refused(tmp_path: Path, case: Case) -> None:
    small = replace(case, spec=replace(case.spec, n_vocab=10))
    with pytest.raises(DatasetError, match="token ids below 10, the vocabulary of"):
        small.scan(tmp_path / "out.zarr.zip")

"""Loading: types, devices, files that do not fit the class."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gluscope.core.errors import ModelError
from gluscope.model import load as loading
from gluscope.model.describe import describe
from gluscope.model.load import load_model
from helpers import model_parity as parity
from helpers.model_table import token_ids
from helpers.tiny_models import make
from safetensors.numpy import load_file, save_file


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return describe(str(make("OlmoForCausalLM", tmp_path_factory.mktemp("olmo") / "model", dtype="float16")))


@pytest.mark.parametrize(
    ("asked", "given"),
    [("auto", torch.float16), ("float32", torch.float32), ("float16", torch.float16), ("bfloat16", torch.bfloat16)],
)
def test_types_on_a_cpu(spec, asked, given):
    model = load_model(spec, "cpu", asked)
    seen = []
    with model.capture([0, 1], lambda layer, *tensors: seen.extend(tensors)):
        model.forward(token_ids())
    assert model.dtype == given
    assert {tensor.dtype for tensor in seen} == {given}
    assert model.device.type == "cpu"


def test_tf32_is_what_the_run_says_for_every_kind_of_product(spec):
    """torch by itself has it for convolutions alone."""
    for asked in (True, False):
        load_model(spec, "cpu", "float32", asked)
        assert torch.backends.cuda.matmul.allow_tf32 is asked
        assert torch.backends.cudnn.allow_tf32 is asked


def test_ready_for_inference(spec):
    model = load_model(spec, "cpu")
    assert not model.hf_model.training
    assert not any(parameter.requires_grad for parameter in model.hf_model.parameters())
    assert model.hf_model.config._attn_implementation == "sdpa"


def test_attention_is_what_the_class_allows(tiny_spec):
    assert load_model(tiny_spec("Gemma2ForCausalLM"), "cpu").hf_model.config._attn_implementation == "eager"


def test_devices_that_are_not_there(spec, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="none that torch can use"):
        load_model(spec, "cuda")
    with pytest.raises(ModelError, match="'gpu'"):
        load_model(spec, "gpu")
    assert load_model(spec, "auto").device.type == "cpu"


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        ({0: 10, 1: 50}, {"device_map": {"": 1}}),
        ({0: 30, 1: 30}, {"device_map": "balanced", "max_memory": dict.fromkeys((0, 1), int(30 * 2**30 / 1.1))}),
        ({0: 20, 1: 20}, None),
    ],
)
def test_places_for_40_gib(spec, monkeypatch, free, expected):
    """One GPU if the weights (and a tenth more) fit on it, else several, else a line that says what is missing."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: (free[gpu] * 2**30, 80 * 2**30))
    large = dataclasses.replace(spec, parameters=20 * 2**30)
    if expected is None:
        with pytest.raises(ModelError, match=r"44 GiB of GPU memory for torch\.float16, found 40 GiB free on 2 GPU"):
            loading._device_map(large, "cuda", torch.float16)
    else:
        assert loading._device_map(large, "cuda", torch.float16) == expected
    assert loading._device_map(large, "cpu", torch.float16) == {}


def test_missing_weights_are_not_made_up(spec, tmp_path):
    """The class would fill them with random numbers."""
    folder = Path(shutil.copytree(spec.folder, tmp_path / "copy"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.self_attn.q_proj.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"none for model.layers.1.self_attn.q_proj.weight"):
        load_model(dataclasses.replace(spec, folder=str(folder)), "cpu")


def test_files_that_went_away(spec, tmp_path):
    with pytest.raises(ModelError) as caught:
        load_model(dataclasses.replace(spec, folder=str(tmp_path)), "cpu")
    assert "\n" not in str(caught.value)


def test_another_activation_than_described_is_found_out(spec):
    with pytest.raises(ModelError, match=r"an MLP that computes gelu\(gate\), found OlmoForCausalLM"):
        load_model(dataclasses.replace(spec, act_fn="gelu"), "cpu")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_another_activation_is_found_out_in_half_precision(spec, dtype):
    with pytest.raises(ModelError, match=r"relu\(gate\)"):
        load_model(dataclasses.replace(spec, act_fn="relu"), "cpu", dtype)


def test_a_model_spread_over_devices(spec, tmp_path, monkeypatch):
    """As over several GPUs, with the disk as the second one: the hooks see the same values."""
    whole = parity.captured(load_model(spec, "cpu"), token_ids())
    places = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "cpu"}
    placement = {"device_map": {**places, "model.rotary_emb": "cpu", "lm_head": "cpu"}, "offload_folder": tmp_path}
    monkeypatch.setattr(loading, "_device_map", lambda *_: placement)
    spread = load_model(spec, "cpu")
    assert set(spread.hf_model.hf_device_map.values()) == {"cpu", "disk"}
    for one, other in zip(whole, parity.captured(spread, token_ids()), strict=True):
        for name in parity.QUANTITIES:
            np.testing.assert_array_equal(one[name], other[name])


def test_a_model_partly_on_no_gpu_is_refused(spec):
    """transformers leaves on the disk, and says nothing, what fits on no GPU."""
    model = torch.nn.Module()
    model.hf_device_map = {"model.embed_tokens": 0, "model.layers.0": 1, "model.layers.1": "disk", "lm_head": "disk"}
    with pytest.raises(ModelError, match=r"found no room for model\.layers\.1 and 1 more"):
        loading._check_on_gpus(spec, model)
    model.hf_device_map = {"": 1}
    loading._check_on_gpus(spec, model)

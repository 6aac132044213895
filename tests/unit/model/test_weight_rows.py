"""Rows of weights against the same tensors read by the safetensors package, for every type and layout of files."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from gluscope.core.errors import ModelError
from gluscope.model.describe import describe
from gluscope.model.rows import WeightRows
from helpers.tiny_models import make
from safetensors.torch import load_file

CASES = [
    ("OlmoForCausalLM", "float32", "5GB"),
    ("OlmoForCausalLM", "float16", "20KB"),
    ("OlmoForCausalLM", "bfloat16", "5GB"),
    ("LlamaForCausalLM", "bfloat16", "20KB"),
    ("Phi3ForCausalLM", "float16", "5GB"),
    ("Gemma2ForCausalLM", "float32", "5GB"),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def case(request, tmp_path_factory):
    architecture, dtype, shard = request.param
    folder = make(architecture, tmp_path_factory.mktemp("rows") / "model", dtype=dtype, max_shard_size=shard)
    spec = describe(str(folder))
    tensors = {k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()}
    assert {str(tensor.dtype) for tensor in tensors.values()} == {f"torch.{dtype}"}
    return spec, {name: tensor.double().numpy() for name, tensor in tensors.items()}


def expected_halves(spec, tensors, layer) -> tuple[np.ndarray, np.ndarray]:
    gate = tensors[spec.gate.format(layer=layer)]
    return (gate[:48], gate[48:]) if spec.fused else (gate, tensors[spec.in_.format(layer=layer)])


def test_matrices_and_rows(case):
    spec, tensors = case
    rows = WeightRows(spec)
    for layer in range(spec.n_layers):
        gate, in_ = expected_halves(spec, tensors, layer)
        out = tensors[spec.out.format(layer=layer)]
        for found, expected in [
            (rows.gate_matrix(layer), gate),
            (rows.in_matrix(layer), in_),
            (rows.out_matrix(layer), out.T),
        ]:
            assert found.shape == (48, 32)
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, expected)
        for neuron in (0, 7, 47):
            np.testing.assert_array_equal(rows.gate(layer, neuron), gate[neuron])
            np.testing.assert_array_equal(rows.in_(layer, neuron), in_[neuron])
            np.testing.assert_array_equal(rows.out(layer, neuron), out[:, neuron])
            assert rows.out(layer, neuron).dtype == np.float32


def test_embeddings(case):
    spec, tensors = case
    rows, some = WeightRows(spec), np.array([5, 3, 300])
    np.testing.assert_array_equal(rows.embed(), tensors["model.embed_tokens.weight"])
    np.testing.assert_array_equal(rows.unembed(some), tensors[spec.unembed][some])
    np.testing.assert_array_equal(rows.unembed(slice(10, 20)), tensors[spec.unembed][10:20])


def test_biases(case):
    spec, tensors = case
    rows = WeightRows(spec)
    for name, found in [(spec.gate, rows.bias_gate(1, 9)), (spec.in_, rows.bias_in(1, 9))]:
        bias = tensors.get(name.format(layer=1).removesuffix("weight") + "bias", np.zeros(48))
        assert found == bias[9]
    assert (rows.bias_gate(1, 9) != 0.0) == (spec.architecture == "LlamaForCausalLM")


@pytest.mark.parametrize(("layer", "neuron"), [(-1, 0), (2, 0), (0, -1), (0, 48)])
def test_what_is_not_there(case, layer, neuron):
    """No neuron of the other half of a fused tensor, and no counting from the end."""
    for read in (WeightRows(case[0]).gate, WeightRows(case[0]).in_, WeightRows(case[0]).out):
        with pytest.raises(IndexError):
            read(layer, neuron)


def test_every_bfloat16_is_exact(tmp_path):
    """All 65536 bit patterns, infinities and subnormals included."""
    from gluscope.model.rows import _float32

    bits = np.arange(2**16, dtype=np.uint16)
    expected = torch.from_numpy(bits.astype(np.int32)).to(torch.int16).view(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(_float32(bits), expected)


def test_files_that_are_gone_or_damaged(case, tmp_path):
    folder = Path(shutil.copytree(case[0].folder, tmp_path / "copy"))
    spec = dataclasses.replace(case[0], folder=str(folder))
    victim = sorted(folder.glob("*.safetensors"))[0]
    victim.write_bytes(victim.read_bytes()[:-3])
    with pytest.raises(ModelError, match=victim.name):
        WeightRows(spec)
    victim.unlink()
    several = rf"expected \d weight files, found no {victim.name}"
    with pytest.raises(ModelError, match=rf"expected weights in safetensors .* found none|{several}"):
        WeightRows(spec)


def test_a_tensor_of_another_name(case):
    spec = dataclasses.replace(case[0], out="model.layers.{layer}.mlp.nothing.weight")
    with pytest.raises(ModelError, match=r"layers.1.mlp.nothing.weight as F32, F16 or BF16, found no such tensor"):
        WeightRows(spec).out(1, 0)

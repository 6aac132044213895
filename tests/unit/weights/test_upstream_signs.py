"""Signs, cosines and classes against TransformerLens' own folding, from which the original tool takes its signs.

The original calls `enable_compatibility_mode` (fold_ln, then centred writing weights) and negates w_in and w_out where
the sum of W_gate * W_in is negative.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gluscope.model.describe import describe
from gluscope.model.rows import WeightRows
from gluscope.weights.classes import rw_class, rw_classes
from gluscope.weights.folded import FoldedRows, signs_of
from gluscope.weights.products import cosines, products
from gluscope.weights.types import COSINES, Cosine
from helpers.tiny_models import make

DEMO = Path(__file__).parents[3] / "config" / "demo" / "model"
CENTRED = ("OlmoForCausalLM", "StableLmForCausalLM", "CohereForCausalLM")
CASES = ("demo", *CENTRED, "LlamaForCausalLM", "Gemma2ForCausalLM", "Phi3ForCausalLM", "Olmo2ForCausalLM")


@pytest.fixture(scope="module", params=CASES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "demo":
        return DEMO
    return make(request.param, tmp_path_factory.mktemp("upstream") / "model", d_mlp=96)


@torch.inference_mode()
def theirs(folder: Path) -> tuple[torch.Tensor, ...]:
    """W_gate, W_in, W_out, float64 [layer, neuron, d_model], as TransformerLens folds them."""
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)
    bridge.enable_compatibility_mode()
    gate, in_, out = bridge.W_gate.double(), bridge.W_in.double(), bridge.W_out.double()
    return gate.transpose(1, 2), in_.transpose(1, 2), out


def cosine(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    return np.asarray(((a * b).sum(-1) / a.norm(dim=-1) / b.norm(dim=-1)).numpy())


def test_signs_cosines_and_classes(folder: Path) -> None:
    spec = describe(str(folder))
    gate, in_, out = theirs(folder)
    sign = np.where((gate * in_).sum(-1).numpy() < 0, -1, 1)
    np.testing.assert_array_equal(signs_of(spec), sign)
    their_class = np.stack([cosine(in_, out), cosine(gate, out), cosine(gate, in_)], -1)
    if spec.architecture in CENTRED:
        # They centre w_in and w_out; w_gate's mean over d_model, which nothing reads either, they leave in.
        gate = gate - gate.mean(-1, keepdim=True)
    expected = {Cosine.IN_OUT: cosine(in_, out), Cosine.GATE_OUT: cosine(gate, out), Cosine.GATE_IN: cosine(gate, in_)}
    rows = FoldedRows(WeightRows(spec))
    for layer in range(spec.n_layers):
        found = cosines(products(rows.gate_matrix(layer), rows.in_matrix(layer), rows.out_matrix(layer)))
        for kind in COSINES:
            np.testing.assert_allclose(found[:, kind.index], expected[kind][layer], atol=2e-6)
        if folder == DEMO or spec.architecture not in CENTRED:
            classes = [rw_class(*each).index for each in their_class[layer]]
            np.testing.assert_array_equal(rw_classes(*(found[:, kind.index] for kind in COSINES)), classes)

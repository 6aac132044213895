"""Mixtures of experts: what is handed out is what the experts' weights, read from the files, make of x; and the rest of
the model is transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from gluscope.core.errors import ModelError
from gluscope.core.size import LayerNeurons
from gluscope.model import experts
from gluscope.model.capture import GatedModel, Mixed
from gluscope.model.describe import describe
from gluscope.model.files import peek
from gluscope.model.load import load_model
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from helpers.tiny_experts import MIXTURES, make_experts

IDS = torch.from_numpy(np.random.default_rng(0).integers(3, 60, (3, 11)))
Made = Callable[[str], ModelSpec]


@pytest.fixture(scope="session")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, made = tmp_path_factory.mktemp("mixtures"), {}

    def get(architecture: str) -> ModelSpec:
        if architecture not in made:
            made[architecture] = describe(str(make_experts(architecture, folder / architecture)))
        return made[architecture]

    return get


def seen_by(model: GatedModel) -> dict[int, tuple[torch.Tensor, Any]]:
    found: dict[int, tuple[torch.Tensor, Any]] = {}

    def dense(layer: int, x: torch.Tensor, *values: torch.Tensor) -> None:
        found[layer] = x, values

    def mixed(layer: int, x: torch.Tensor, values: Mixed) -> None:
        found[layer] = x, values

    with model.capture(range(model.spec.n_layers), dense, mixed):
        model.forward(IDS)
    return found


def by_formula(spec: ModelSpec, rows: WeightRows, layer: int, place: int, x: np.ndarray) -> np.ndarray:
    """gate, in, act and post of one neuron at one token, in float64, from the stored weights."""
    gate = float(x @ rows.gate(layer, place).astype(np.float64)) + rows.bias_gate(layer, place)
    in_ = float(x @ rows.in_(layer, place).astype(np.float64)) + rows.bias_in(layer, place)
    slope = 1.0
    if spec.architecture == "GptOssForCausalLM":
        gate, in_, slope = min(gate, 7.0), min(max(in_, -7.0), 7.0) + 1, 1.702
    act = gate / (1 + np.exp(-slope * gate))
    return np.array([gate, in_, act, act * in_])


@pytest.mark.parametrize("architecture", MIXTURES)
def test_values_are_those_of_the_stored_weights(architecture: str, mixture: Made) -> None:
    """At every token and every expert that it is sent to, and at none else."""
    spec = mixture(architecture)
    assert spec.mixture is not None
    model, rows, size = load_model(spec, "cpu"), WeightRows(spec), spec.size
    chosen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for layer in spec.mixture.layers:
        router = model.blocks[layer].get_submodule(spec.mixture.module).get_submodule(spec.mixture.modules["router"])
        router.register_forward_hook(lambda _, args, out, layer=layer: chosen.update({layer: (out[2], out[1])}))
    worst = 0.0
    for layer, (x, values) in seen_by(model).items():
        flat = x.double().numpy().reshape(-1, spec.d_model)
        if not spec.is_mixture(layer):
            for place in (0, size.layers[layer].dense - 1):
                found = np.array([value.numpy().reshape(len(flat), -1)[:, place] for value in values])
                expected = np.stack([by_formula(spec, rows, layer, place, token) for token in flat], axis=1)
                worst = max(worst, float(np.abs(found - expected).max()))
            continue
        routed = values.routed
        assert torch.equal(routed.chosen, chosen[layer][0])
        assert torch.equal(routed.weight, chosen[layer][1])
        pairs = {(int(t), int(e)) for t in range(len(flat)) for e in routed.chosen[t]}
        experts = np.repeat(np.arange(spec.mixture.experts), routed.pairs.numpy())
        assert len(pairs) == len(experts) == len(flat) * spec.mixture.chosen
        assert list(zip(experts.tolist(), routed.token.tolist(), strict=True)) == sorted((e, t) for t, e in pairs)
        own = np.stack([part.numpy() for part in (routed.gate, routed.in_, routed.act, routed.post)])
        for pair, (expert, token) in enumerate(zip(experts.tolist(), routed.token.tolist(), strict=True)):
            stretch = size.layers[layer].stretch(f"E{expert}")
            assert stretch is not None
            for number in (0, 7, stretch.width - 1):
                expected = by_formula(spec, rows, layer, stretch.begin + number, flat[token])
                worst = max(worst, float(np.abs(own[:, pair, number] - expected).max()))
        for stretch, shared in zip(size.layers[layer].stretches(), values.shared, strict=False):
            own = np.stack(
                [p.numpy().reshape(len(flat), -1) for p in (shared.gate, shared.in_, shared.act, shared.post)]
            )
            for number in (0, stretch.width - 1):
                expected = np.stack([by_formula(spec, rows, layer, stretch.begin + number, t) for t in flat], axis=1)
                worst = max(worst, float(np.abs(own[:, :, number] - expected).max()))
    assert worst < 1e-4


@pytest.mark.parametrize("architecture", MIXTURES)
def test_the_model_computes_what_transformers_computes(architecture: str, mixture: Made) -> None:
    spec = mixture(architecture)
    model = load_model(spec, "cpu").hf_model
    plain = getattr(transformers, architecture).from_pretrained(spec.folder, experts_implementation="eager").eval()
    with torch.inference_mode():
        found, expected = model(input_ids=IDS).logits, plain(input_ids=IDS).logits
    assert float((found - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_a_pass_that_stops_leaves_out_what_nobody_reads(mixture: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the last layer's neurons nothing is computed, and its neurons are those of a whole pass."""
    model, products, found = load_model(mixture("OlmoeForCausalLM"), "cpu"), [], []
    whole = seen_by(model)[2]

    def counted(*given: Any) -> torch.Tensor:
        products.append(given[1].shape)
        return by_expert(*given)

    by_expert = experts._by_expert
    monkeypatch.setattr(experts, "_by_expert", counted)
    with model.capture([2], lambda *_: None, lambda layer, x, mixed: found.append((x, mixed.routed))):
        model.forward(IDS)
        model.forward(IDS, stop_at_layer=2)
    assert len(products) == 6 + 5
    for x, routed in found:
        torch.testing.assert_close(x, whole[0], rtol=0, atol=0)
        for name in ("chosen", "weight", "token", "pairs", "gate", "in_", "act", "post"):
            torch.testing.assert_close(getattr(routed, name), getattr(whole[1].routed, name), rtol=0, atol=0)


@pytest.mark.parametrize("architecture", MIXTURES)
def test_sizes_are_known_from_the_config_alone(architecture: str, mixture: Made) -> None:
    spec = mixture(architecture)
    assert peek(spec.folder) == spec.size
    assert ModelSpec.read(_saved(spec)) == spec


def _saved(spec: ModelSpec) -> Path:
    path = Path(spec.folder) / "described.json"
    spec.save(path)
    return path


def test_layers_of_a_mixture(mixture: Made) -> None:
    assert mixture("DeepseekV3ForCausalLM").size.layers == (
        LayerNeurons(24),
        LayerNeurons(0, (32,), 8, 16),
        LayerNeurons(0, (32,), 8, 16),
    )


def test_weights_stored_as_one_tensor_of_all_experts(mixture: Made, tmp_path: Path) -> None:
    """As a folder has them that was saved without transformers' conversion."""
    from safetensors.torch import save_file

    spec = mixture("OlmoeForCausalLM")
    model = transformers.OlmoeForCausalLM.from_pretrained(spec.folder)
    model.config.save_pretrained(tmp_path)
    save_file({name: part.contiguous() for name, part in model.state_dict().items()}, tmp_path / "model.safetensors")
    stacked = describe(str(tmp_path))
    assert stacked.mixture is not None
    assert stacked.mixture.form == "stacked"
    load_model(stacked, "cpu")
    one, other = WeightRows(spec), WeightRows(stacked)
    for place in (0, 23, 24, 6 * 24 - 1):
        for part in ("gate", "in_", "out"):
            np.testing.assert_array_equal(getattr(one, part)(2, place), getattr(other, part)(2, place))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"hidden_act": "tanh"}, "the activation"),
    ],
)
def test_what_cannot_be_said_is_refused(settings: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=told):
        describe(str(make_experts("OlmoeForCausalLM", tmp_path / "model", **settings)))


def test_llama_4_is_refused_by_name(tmp_path: Path) -> None:
    """Its router's weight multiplies what goes into an expert, not what comes out of it."""
    small = {"hidden_size": 32, "intermediate_size": 24, "intermediate_size_mlp": 24, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 60,
             "num_local_experts": 4, "pad_token_id": 0}  # fmt: skip
    config = transformers.Llama4TextConfig(**small)
    transformers.Llama4ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="Llama4ForCausalLM, experts whose router scales their input"):
        describe(str(tmp_path))

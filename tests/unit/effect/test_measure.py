"""Measured effects against their definition on several classes; laws; planted neurons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.cases import CASES
from gluscope.core.neuron import NeuronId
from gluscope.effect.choose import Chosen
from gluscope.effect.measure import Measure
from gluscope.effect.types import SCOPES, Effect
from gluscope.model.describe import describe
from gluscope.model.load import load_model
from gluscope.model.spec import ModelSpec
from helpers.brute_effect import BruteForce, BruteForceExperts, Texts, by_case, ends, texts
from helpers.tiny_experts import make_experts
from helpers.tiny_models import make

CLASSES: dict[str, dict[str, Any]] = {
    "OlmoForCausalLM": {},
    "Olmo2ForCausalLM": {},  # norms after the MLP alone
    "LlamaForCausalLM": {"tie_word_embeddings": True},
    "Qwen3ForCausalLM": {},
    "Gemma2ForCausalLM": {"final_logit_softcapping": 3.0},  # sandwich norms, capped logits, tied
    "Gemma3ForCausalLM": {},
    "Gemma3ForConditionalGeneration": {},
    "Phi3ForCausalLM": {},  # gate and in are one tensor
    "CohereForCausalLM": {"logit_scale": 0.25},  # attention and MLP side by side, scaled logits, tied
    "Cohere2ForCausalLM": {},
    "GraniteForCausalLM": {"logits_scaling": 2.0},
    "Glm4ForCausalLM": {},
    "Gemma4ForCausalLM": {},
    "Lfm2ForCausalLM": {},
    "BambaForCausalLM": {},
}
LAYERS = 3
# Float32 passes of three blocks; norms are in float32 in a float64 model too. What is stored is float32.
EXACT, FLOAT32 = 1e-5, 5e-5


def measured(
    spec: ModelSpec, data: Texts, neuron: NeuronId, chosen: Chosen, double: bool = True, tokens: int = 40
) -> tuple[Effect, Measure]:
    model = load_model(spec, "cpu", "float32")
    if double:
        model.hf_model.double()
    measure = Measure(model, data, neuron.layer, "float64" if double else "float32", tokens)  # type: ignore[arg-type]
    return measure(neuron, chosen, ends(spec, neuron.layer, spec.size.place(neuron))), measure


def expected(brute: BruteForce, data: Texts, neuron: NeuronId, chosen: Chosen) -> dict[str, np.ndarray]:
    """change, kl [scope, case, group, example] and the mean change of all tokens, from the definition."""
    shape = (len(SCOPES), *chosen.row.shape)
    change, kl = np.full(shape, np.nan), np.full(shape, np.nan)
    mean = np.zeros((*shape[:3], brute.spec.n_vocab))
    for case, group, i in np.argwhere(chosen.row >= 0):
        ids, at = data.ids[chosen.row[case, group, i]], int(chosen.position[case, group, i])
        with_it = brute.log_probabilities(ids, neuron)[at]
        for scope, zero in enumerate(({at}, set(brute.positions_of(ids, neuron, CASES[case])))):
            difference = with_it - brute.log_probabilities(ids, neuron, zero)[at]
            kl[scope, case, group, i] = (np.exp(with_it) * difference).sum()
            if at + 1 < len(ids):
                change[scope, case, group, i] = difference[ids[at + 1]]
            mean[scope, case, group] += difference / (chosen.row[case, group] >= 0).sum()
    return {"change": change, "kl": kl, "mean": mean}


def check(found: Effect, wanted: dict[str, np.ndarray], tolerance: float) -> float:
    worst = 0.0
    for name in ("change", "kl"):
        np.testing.assert_array_equal(np.isnan(getattr(found, name)), np.isnan(wanted[name]), name)
        gap = np.nanmax(np.abs(getattr(found, name) - wanted[name]) / (1 + np.abs(wanted[name])))
        worst = max(worst, float(gap))
    mean = wanted["mean"]
    for at in np.ndindex(mean.shape[:3]):
        if not mean[at].any():
            assert (found.token[at] == -1).all()
            continue
        for end, sign in enumerate((1, -1)):
            ids, values = found.token[(*at, end)], found.token_change[(*at, end)]
            there = ids >= 0
            best = np.sort(sign * mean[at])[::-1][: there.sum()]
            worst = max(worst, float(np.abs(sign * values[there] - best).max(initial=0)))
            worst = max(worst, float(np.abs(values[there] - mean[at][ids[there]]).max(initial=0)))
    assert worst < tolerance
    return worst


@pytest.mark.parametrize("architecture", CLASSES)
def test_effects_are_those_of_the_definition(architecture: str, tmp_path: Path) -> None:
    folder = make(architecture, tmp_path / "model", n_layers=LAYERS, **CLASSES[architecture])
    spec = describe(str(folder), None)
    data, brute = texts(spec.n_vocab), BruteForce(spec)
    for neuron in (NeuronId(0, 5), NeuronId(2, 2)):
        chosen = by_case(brute, data, neuron)
        wanted = expected(brute, data, neuron, chosen)
        found, measure = measured(spec, data, neuron, chosen)
        exact = check(found, wanted, EXACT)
        single = check(measured(spec, data, neuron, chosen, double=False)[0], wanted, FLOAT32)
        print(f"{architecture} {neuron} float64 {exact:.1e} float32 {single:.1e} {measure.ablation.passes}")
        assert np.nanmax(np.abs(wanted["change"])) > 100 * FLOAT32  # there is something to be seen


EXPERTS = {
    "OlmoeForCausalLM": [NeuronId(0, 5, "E1"), NeuronId(2, 2, "E4")],
    "Qwen3MoeForCausalLM": [NeuronId(0, 5, "E0"), NeuronId(1, 2, "E3")],
    "DeepseekV3ForCausalLM": [NeuronId(0, 7), NeuronId(1, 3, "ES"), NeuronId(1, 5, "E6")],
}


@pytest.mark.parametrize("architecture", EXPERTS)
def test_effects_of_experts_keep_the_routers_choice(architecture: str, tmp_path: Path) -> None:
    """Later routers would choose others at some tokens, and are held to what they chose."""
    spec = describe(str(make_experts(architecture, tmp_path / "model", vocab=90)), None)
    data, brute = texts(spec.n_vocab), BruteForceExperts(spec)
    for neuron in EXPERTS[architecture]:
        chosen = by_case(brute, data, neuron)
        wanted = expected(brute, data, neuron, chosen)
        found, measure = measured(spec, data, neuron, chosen)
        exact = check(found, wanted, EXACT)
        single = check(measured(spec, data, neuron, chosen, double=False)[0], wanted, FLOAT32)
        passes = f"{measure.ablation.passes}, held {brute.moved}"
        print(f"{architecture} {neuron} float64 {exact:.1e} float32 {single:.1e} {passes}")
        assert np.nanmax(np.abs(wanted["change"])) > 100 * FLOAT32  # there is something to be seen
    assert brute.moved > 0

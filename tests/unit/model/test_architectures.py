"""Every architecture: capture against an independent float64 computation, the bridge and itself; the docs' table."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch
from gluscope.model.adapter import TESTED
from gluscope.model.load import load_model
from helpers import model_parity as parity
from helpers import model_table
from helpers.tiny_models import make

WINDOWED = (
    "Olmo3ForCausalLM", "MistralForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM",
    "Gemma3ForConditionalGeneration", "Gemma4ForCausalLM", "VaultGemmaForCausalLM", "Phi3ForCausalLM",
    "Cohere2ForCausalLM", "Exaone4ForCausalLM",
)  # fmt: skip
CAPPED = ("Gemma2ForCausalLM", "VaultGemmaForCausalLM")
ERRORS: dict[str, float] = {}


def test_the_list_of_what_works_is_the_list_of_what_is_tested():
    assert tuple(model_table.ROWS) == TESTED


@pytest.mark.parametrize("architecture", TESTED)
def test_equals_float64_formula(architecture, tiny_spec):
    ERRORS[architecture] = model_table.largest_error(architecture, tiny_spec(architecture))
    assert ERRORS[architecture] < 1e-5


@pytest.mark.parametrize("act_fn", ["gelu", "gelu_pytorch_tanh", "silu"])
def test_the_activation_is_the_configs(act_fn, tmp_path):
    spec = model_table.describe(str(make("LlamaForCausalLM", tmp_path / act_fn, hidden_act=act_fn)))
    assert spec.act_fn == act_fn
    assert spec.bias
    ids = model_table.token_ids()
    found, expected = parity.captured(load_model(spec, "cpu"), ids), parity.reference(spec, ids)
    others = [parity.ACTS[other](expected[0]["gate"]) for other in parity.ACTS if other != act_fn]
    assert parity.error(found[0]["act"], expected[0]["act"]) < 1e-5
    assert min(parity.error(found[0]["act"], other) for other in others) > 1e-5


def test_of_two_activations_in_a_config_the_one_that_runs_is_named(tmp_path):
    """Gemma's configs have hidden_act and hidden_activation, and its class reads one of them."""
    two = {"hidden_act": "silu", "hidden_activation": "gelu_pytorch_tanh"}
    for architecture, used in [("GemmaForCausalLM", "silu"), ("Gemma2ForCausalLM", "gelu_pytorch_tanh")]:
        spec = model_table.describe(str(make(architecture, tmp_path / architecture, **two)))
        assert spec.act_fn == used
        ids = model_table.token_ids()
        [found, _], [expected, _] = parity.captured(load_model(spec, "cpu"), ids), parity.reference(spec, ids)
        assert parity.error(expected["computed"], expected["written"]) < 1e-6
        assert parity.error(found["act"], expected["act"]) < 1e-5


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [(name, {"sliding_window": 200}) for name in WINDOWED]
    + [(name, {"attn_logit_softcapping": None}) for name in CAPPED],
)
def test_windows_and_soft_caps_are_at_work(architecture, changes, tiny_spec, tmp_path):
    """Without them x is another, from the first position that a window does not reach, or where a cap bites."""
    spec = tiny_spec(architecture)
    shutil.copytree(spec.folder, tmp_path / "open")
    config = json.loads((tmp_path / "open/config.json").read_text())
    window, text = 4, config.get("text_config", config)
    assert set(changes) <= set(text)
    assert changes.get("sliding_window", 0) in (0, 200)
    text.update(changes)
    (tmp_path / "open/config.json").write_text(json.dumps(config))
    ids = model_table.token_ids()
    with_, without = (
        parity.captured(load_model(one, "cpu"), ids) for one in (spec, model_table.describe(str(tmp_path / "open")))
    )
    moved = np.max([np.abs(a["x"] - b["x"]).max((0, 2)) for a, b in zip(with_, without, strict=True)], axis=0)
    first = window if "sliding_window" in changes else 1
    assert moved[:first].max() < 1e-5 < 1e-3 < moved[first:].min()


# With image parts the bridge asks the hub for a processor, and waits.
@pytest.mark.parametrize("architecture", [name for name in TESTED if name.endswith("ForCausalLM")])
def test_equals_the_bridge(architecture, tiny_spec):
    from transformer_lens.model_bridge import TransformerBridge

    spec, ids = tiny_spec(architecture), model_table.token_ids()
    bridge = TransformerBridge.boot_transformers(spec.folder, device="cpu", dtype=torch.float32)
    hooks = {"x": "hook_in", "gate": "hook_pre", "in": "hook_pre_linear", "post": "hook_post"}
    seen: dict[tuple[int, str], np.ndarray] = {}

    def keeper(layer: int, name: str):
        return lambda value, hook: seen.__setitem__((layer, name), value.double().numpy().copy())

    forward_hooks = [
        (f"blocks.{layer}.mlp.{hook}", keeper(layer, name))
        for layer in range(spec.n_layers)
        for name, hook in hooks.items()
    ]
    with torch.inference_mode():
        bridge.run_with_hooks(torch.from_numpy(ids), fwd_hooks=forward_hooks, return_type=None)
    found = parity.captured(load_model(spec, "cpu", "float32"), ids)
    assert len(seen) == 4 * spec.n_layers
    assert max(parity.error(found[layer][name], value) for (layer, name), value in seen.items()) < 1e-5


@pytest.mark.parametrize("architecture", TESTED)
def test_padding_changes_nothing(architecture, tiny_spec):
    """Examples of several lengths in one batch have the values that each has alone."""
    spec, lengths = tiny_spec(architecture), np.array([12, 7, 1])
    ids = model_table.token_ids(rows=3)
    ids[np.arange(12) >= lengths[:, None]] = 0
    model = load_model(spec, "cpu", "float32")
    together = parity.captured(model, ids, lengths=lengths)
    for row, length in enumerate(lengths):
        alone = parity.captured(model, ids[row : row + 1, :length], lengths=lengths[row : row + 1])
        for both, single in zip(together, alone, strict=True):
            assert max(parity.error(both[q][row, :length], single[q][0]) for q in parity.QUANTITIES) < 1e-5


@pytest.mark.parametrize("architecture", TESTED)
def test_what_ran_before_leaves_no_trace(architecture, tiny_spec):
    """A longer text in between, past every length that a config names: the same bits again."""
    model = load_model(tiny_spec(architecture), "cpu", "float32")
    ids = model_table.token_ids()
    before = parity.captured(model, ids)
    with model.capture([], lambda *_: None):
        model.forward(model_table.token_ids(rows=1, width=300))
    for one, other in zip(before, parity.captured(model, ids), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in parity.QUANTITIES)


def test_the_docs_table_is_this_tests():
    """Same rows, and errors of the same size; docs/models.md says how to rewrite it."""
    committed = model_table.committed_rows()
    assert [row.split("`")[1] for row in committed] == list(TESTED)
    for row in committed:
        architecture, stated = row.split("`")[1], float(re.search(r"\| (\de-\d\d) \|", row)[1])
        assert stated < 1e-5
        act_fn = row.split("|")[2].strip()
        assert row == model_table.row(architecture, act_fn, stated)
        if architecture in ERRORS:
            assert ERRORS[architecture] < 10 * stated

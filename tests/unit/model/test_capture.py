"""The way values are handed out: once, in order, releasing memory; stopping early."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from gluscope.model.load import load_model
from helpers import model_parity as parity
from helpers.model_table import token_ids


@pytest.fixture(scope="module", params=["OlmoForCausalLM", "Phi3ForCausalLM", "Lfm2ForCausalLM"])
def model(request, tiny_spec):
    """A plain MLP, a fused one, and one without an act module."""
    return load_model(tiny_spec(request.param), "cpu", "float32")


def hooks_of(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf_model.modules())


def test_shapes_and_dtypes(model):
    spec, seen = model.spec, []
    with model.capture([1], lambda *args: seen.append(args)):
        model.forward(token_ids(rows=2, width=5))
    [(layer, x, *values)] = seen
    assert layer == 1
    assert x.shape == (2, 5, spec.d_model)
    assert all(value.shape == (2, 5, spec.d_mlp) for value in values)
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in (x, *values))


def test_layers_come_in_order_once_and_only_those_asked_for(model):
    seen: list[int] = []
    with model.capture([2, 0, 2], lambda layer, *_: seen.append(layer)):
        model.forward(token_ids())
        assert seen == [0, 2]
        model.forward(token_ids())
    assert seen == [0, 2, 0, 2]


def test_nothing_stays_hooked(model):
    before = hooks_of(model)
    with model.capture(range(3), lambda *_: None):
        assert hooks_of(model) > before
        model.forward(token_ids(), stop_at_layer=1)
    assert hooks_of(model) == before


def test_a_fault_in_on_layer_gets_out_and_leaves_nothing_hooked(model):
    before = hooks_of(model)

    def fail(*_):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"), model.capture([0], fail):
        model.forward(token_ids(), stop_at_layer=2)
    assert hooks_of(model) == before


def test_memory_does_not_grow_with_layers(model):
    """When a layer is handed out, no tensor of the layer before is alive any more."""
    living: list[list[weakref.ref]] = []

    def on_layer(layer, *tensors):
        assert all(reference() is None for earlier in living for reference in earlier)
        living.append([weakref.ref(tensor) for tensor in tensors[1:]])

    with model.capture(range(3), on_layer):
        model.forward(token_ids())
    assert len(living) == 3


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_stopping_gives_the_same_values_and_runs_no_later_block(model, stop):
    ran: list[int] = []
    handles = [
        block.register_forward_pre_hook(lambda *_, layer=layer: ran.append(layer))
        for layer, block in enumerate(model.blocks.children())
    ]
    full, stopped = parity.captured(model, token_ids()), None
    ran.clear()
    stopped = parity.captured(model, token_ids(), stop_at_layer=stop)
    for handle in handles:
        handle.remove()
    assert ran == list(range(stop + 1))
    assert len(stopped) == stop + 1
    for layer in range(stop + 1):
        for name in parity.QUANTITIES:
            np.testing.assert_array_equal(stopped[layer][name], full[layer][name])


def test_stopping_needs_no_capture(model):
    model.forward(token_ids(), stop_at_layer=0)


def test_no_logits_are_computed(model):
    head = model.hf_model.get_output_embeddings()
    handle = head.register_forward_hook(lambda *_: pytest.fail("the unembedding ran"))
    model.forward(token_ids())
    handle.remove()


def test_attention_makes_no_plans_for_new_shapes_during_a_pass_alone(model):
    """cuDNN's attention is off in a pass and on again after it, also after one that is left early."""
    seen = []
    for stop in (None, 0):
        for before in (True, False):
            torch.backends.cuda.enable_cudnn_sdp(before)
            with model.capture([0], lambda *_: seen.append(torch.backends.cuda.cudnn_sdp_enabled())):
                model.forward(token_ids(), stop_at_layer=stop)
            assert torch.backends.cuda.cudnn_sdp_enabled() is before
            torch.backends.cuda.enable_cudnn_sdp(True)
    assert seen == [False] * 4


def test_lengths_beyond_the_batch_are_refused(model):
    with pytest.raises(ValueError, match="width 12"):
        model.forward(token_ids(), lengths=np.array([12, 13]))


def test_the_mlps_parts_make_up_its_values(model):
    """post is act * in, bitwise: no copy, cast or other layer's tensor got in between."""
    for values in parity.captured(model, token_ids()):
        np.testing.assert_array_equal(
            values["post"].astype(np.float32), values["act"].astype(np.float32) * values["in"].astype(np.float32)
        )

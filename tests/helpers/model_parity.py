"""An independent computation of what gated MLPs hold, in float64, to compare `capture` with.

It hooks only whole MLPs and blocks of a float64 model, and does the rest (norm, projections, activation) with numpy
from the stored weights. It checks itself: the norm of the residual stream must be the MLP's input, and the formula's
result the MLP's output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gluscope.model.capture import GatedModel
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.weights.folded import FoldedRows
from safetensors.numpy import load_file

QUANTITIES = ("x", "gate", "in", "act", "post")


@dataclass(frozen=True)
class Norms:
    """Norms around an MLP: stored names in the block of the one before it and the one after it; None = no such norm.

    kind: "rms", "rms1p" (gain 1 + w), "layer" or "plain" (layer norm without gain). parallel: the norm before reads
    the block's input. scale: of what the MLP adds to the residual stream.
    """

    kind: str = "rms"
    before: str | None = "post_attention_layernorm"
    after: str | None = None
    parallel: bool = False
    scale: float = 1.0

    def __str__(self) -> str:
        words = {"rms": "RMS", "rms1p": "RMS, gain 1 + w", "layer": "layer norm", "plain": "layer norm without gain"}
        place = "before and after" if self.before and self.after else "before" if self.before else "after"
        return f"{place}, {words[self.kind]}" + (", parallel to attention" if self.parallel else "")


def captured(model: GatedModel, ids: np.ndarray, **how: Any) -> list[dict[str, np.ndarray]]:
    """What `capture` hands out, by layer, in float64."""
    found: dict[int, dict[str, np.ndarray]] = {}

    def on_layer(layer: int, *tensors: torch.Tensor) -> None:
        assert layer not in found
        found[layer] = {name: t.double().numpy().copy() for name, t in zip(QUANTITIES, tensors, strict=True)}

    with model.capture(range(model.spec.n_layers), on_layer):
        model.forward(ids, **how)
    return [found[layer] for layer in sorted(found)]


def reference(spec: ModelSpec, ids: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The same from the formula. Keys besides: block_in, block_out, written (what the MLP returns)."""
    model = getattr(transformers, spec.architecture).from_pretrained(
        spec.folder, dtype=torch.float64, attn_implementation="eager"
    )
    blocks = model.get_submodule(spec.modules["layers"])
    seen: list[dict[str, np.ndarray]] = [{} for _ in blocks]
    for kept, block in zip(seen, blocks, strict=True):

        def keep_block(_: Any, args: Any, kwargs: Any, output: Any, kept: dict[str, Any] = kept) -> None:
            kept["block_in"] = (args[0] if args else kwargs["hidden_states"]).numpy().copy()
            kept["block_out"] = (output[0] if isinstance(output, tuple) else output).numpy().copy()

        def keep_mlp(_: Any, args: Any, output: Any, kept: dict[str, Any] = kept) -> None:
            kept["x"], kept["written"] = args[0].numpy().copy(), output.numpy().copy()

        block.register_forward_hook(keep_block, with_kwargs=True)
        block.get_submodule(spec.modules["mlp"]).register_forward_hook(keep_mlp)
    with torch.inference_mode():
        model.get_submodule(spec.modules["layers"].rpartition(".")[0])(input_ids=torch.from_numpy(ids), use_cache=False)
    weights = stored_weights(spec)
    for layer, kept in enumerate(seen):
        kept |= formula(spec, weights, layer, kept["x"])
    return seen


def stored_weights(spec: ModelSpec) -> dict[str, np.ndarray]:
    """All tensors of the files, float64."""
    files = sorted(Path(spec.folder).glob("*.safetensors"))
    return {name: array.astype(np.float64) for file in files for name, array in load_file(file).items()}


def formula(spec: ModelSpec, weights: dict[str, np.ndarray], layer: int, x: np.ndarray) -> dict[str, np.ndarray]:
    """gate, in, act, post and `computed` (what the MLP should return) from its input, all float64."""

    def linear(name: str, value: np.ndarray) -> np.ndarray:
        bias = weights.get(name.format(layer=layer).removesuffix("weight") + "bias", 0.0)
        return np.asarray(value @ weights[name.format(layer=layer)].T + bias)

    gate, in_ = linear(spec.gate, x), linear(spec.in_, x)
    if spec.fused:
        gate, in_ = gate[..., : spec.d_mlp], in_[..., spec.d_mlp :]
    act = ACTS[spec.act_fn](gate)
    return {"gate": gate, "in": in_, "act": act, "post": act * in_, "computed": linear(spec.out, act * in_)}


ACTS = {
    "silu": lambda g: g / (1 + np.exp(-g)),
    "gelu": lambda g: g * np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(g),
    "gelu_pytorch_tanh": lambda g: 0.5 * g * (1 + np.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3))),
}


def norm_error(spec: ModelSpec, norms: Norms, layer: int, kept: dict[str, np.ndarray]) -> float:
    """How far the MLP's input is from the norm of the residual stream, as `norms` says, relative to its largest."""
    read = _stream(spec, norms, layer, kept)
    if norms.before is None:
        return error(kept["x"], read)
    gain, bias = _gain(spec, norms, norms.before, layer)
    return error(kept["x"], _without_gain(spec, norms, read) * gain + bias)


def folded_error(spec: ModelSpec, norms: Norms, layer: int, kept: dict[str, np.ndarray]) -> float:
    """How far gate and in are from what the library's folded weights give for a norm that has no gain."""
    read = _stream(spec, norms, layer, kept)
    folded, stored = FoldedRows(WeightRows(spec)), WeightRows(spec)
    bias: Any = 0.0
    if norms.before is not None:
        bias = _gain(spec, norms, norms.before, layer)[1]
        read = _without_gain(spec, norms, read)
    errors = []
    for name, matrix, own in (
        ("gate", folded.gate_matrix(layer), stored.gate_matrix(layer)),
        ("in", folded.in_matrix(layer), stored.in_matrix(layer)),
    ):
        apart = np.array([getattr(stored, f"bias_{name}")(layer, n) for n in range(spec.d_mlp)])
        constant = apart + (np.broadcast_to(bias, spec.d_model) @ own.T if np.ndim(bias) else 0.0)
        errors.append(error(kept[name], read @ matrix.T.astype(np.float64) + constant))
    return max(errors)


def _stream(spec: ModelSpec, norms: Norms, layer: int, kept: dict[str, np.ndarray]) -> np.ndarray:
    """The residual stream that the MLP reads."""
    added = kept["written"]
    if norms.after:
        gain, bias = _gain(spec, norms, norms.after, layer)
        added = _without_gain(spec, norms, added) * gain + bias
    return kept["block_in"] if norms.parallel else kept["block_out"] - norms.scale * added


def _without_gain(spec: ModelSpec, norms: Norms, value: np.ndarray) -> np.ndarray:
    config = transformers.AutoConfig.from_pretrained(spec.folder).get_text_config()
    keys = ("rms_norm_eps", "layer_norm_eps", "norm_eps")
    eps = next((float(getattr(config, key)) for key in keys if hasattr(config, key)), 1e-5)
    centred = value - value.mean(-1, keepdims=True) if norms.kind in ("layer", "plain") else value
    return np.asarray(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps))


def _gain(spec: ModelSpec, norms: Norms, name: str, layer: int) -> tuple[Any, Any]:
    """Gain (1 + w included) and bias of a norm, by its stored name in the block."""
    weights = stored_weights(spec)
    prefix = spec.gate.partition("{layer}")[0] + f"{layer}.{name}"
    gain = 1.0 if norms.kind == "plain" else weights[f"{prefix}.weight"]
    return 1.0 + gain if norms.kind == "rms1p" else gain, weights.get(f"{prefix}.bias", 0.0)


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference, relative to the largest absolute value expected."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())

"""What a scan of a mixture of experts must find, the slow way: a float64 forward pass a text by transformers' own loop
over experts, then loops over tokens.

Nothing of the library's computation is used: gate and in are worked out here from the modules' weights and inputs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# (layer, expert's name or "") -> by text: positions that reach it, and values [token, neuron, quantity].
Values = dict[tuple[int, str], list[tuple[np.ndarray, np.ndarray]]]


@dataclass
class Brute:
    """values: see Values, one entry a text. weights: (layer, expert) -> by text the router's weight at positions."""

    values: Values = field(default_factory=lambda: defaultdict(list))
    weights: dict[tuple[int, str], list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))


def brute(folder: Path, texts: list[list[int]], dtype: str = "float64") -> Brute:
    """Every text alone through the model in float64."""
    import torch
    from transformers import AutoModelForCausalLM

    kind = getattr(torch, dtype)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=kind, attn_implementation="eager", experts_implementation="eager"
    ).eval()
    found, text = Brute(), [0]
    for layer, block in enumerate(model.model.layers):
        mlp = block.mlp
        if not hasattr(mlp, "experts"):
            mlp.register_forward_pre_hook(lambda own, args, at=layer: _dense(found, at, "", own, args[0]))
            continue
        mlp.experts.register_forward_pre_hook(lambda own, args, at=layer: _routed(found, at, own, *args))
        for name in ("shared_expert", "shared_experts"):
            if (shared := getattr(mlp, name, None)) is not None:
                shared.register_forward_pre_hook(lambda own, args, at=layer: _dense(found, at, "ES", own, args[0]))
    with torch.inference_mode():
        for text[0], ids in enumerate(texts):
            model(input_ids=torch.tensor([ids]), use_cache=False)
    return found


def _dense(found: Brute, layer: int, name: str, mlp: Any, x: Any) -> None:
    x = x.double().numpy().reshape(-1, x.shape[-1])
    gate, in_ = (x @ part.weight.double().numpy().T for part in (mlp.gate_proj, mlp.up_proj))
    found.values[layer, name].append((np.arange(len(x)), _four(gate, in_, 1.0)))


def _routed(found: Brute, layer: int, experts: Any, x: Any, chosen: Any, weights: Any) -> None:
    x, chosen, weights = x.double().numpy(), chosen.numpy(), weights.double().numpy()
    both = experts.gate_up_proj.double().numpy()
    for expert in range(experts.num_experts):
        at = [t for t in range(len(x)) if expert in chosen[t]]
        own = x[at]
        if hasattr(experts, "limit"):  # gpt-oss
            product = own @ both[expert] + experts.gate_up_proj_bias[expert].double().numpy()
            gate, in_ = np.minimum(product[:, ::2], 7.0), np.clip(product[:, 1::2], -7.0, 7.0) + 1
            values = _four(gate, in_, 1.702)
        else:
            product = own @ both[expert].T
            gate, in_ = np.split(product, 2, axis=1)
            values = _four(gate, in_, 1.0)
        found.values[layer, f"E{expert}"].append((np.array(at, int), values))
        share = np.array([weights[t][list(chosen[t]).index(expert)] for t in at])
        found.weights[layer, f"E{expert}"].append(share)


def _four(gate: np.ndarray, in_: np.ndarray, slope: float) -> np.ndarray:
    act = gate / (1 + np.exp(-slope * gate))
    return np.stack([gate, in_, act, act * in_], axis=-1)

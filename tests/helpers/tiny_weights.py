"""A model's safetensors file with random weights, made by numpy alone: enough for all that reads rows of weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gluscope.model.spec import ModelSpec
from safetensors.numpy import save_file


def make_weights(
    folder: Path,
    *,
    n_layers: int = 2,
    d_model: int = 32,
    d_mlp: int = 24,
    n_vocab: int = 50,
    bias: bool = False,
    dtype: str = "float32",
    seed: int = 0,
) -> ModelSpec:
    """Write `folder`/model.safetensors and return its spec. Weights are normal, 1/sqrt(d_model) wide."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (n_vocab, d_model), "head.weight": (n_vocab, d_model)}
    for layer in range(n_layers):
        shapes |= {f"{layer}.{part}.weight": (d_mlp, d_model) for part in ("gate", "up")}
        shapes |= {f"{layer}.{part}.bias": (d_mlp,) for part in ("gate", "up") if bias}
        shapes[f"{layer}.down.weight"] = (d_model, d_mlp)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: (rng.standard_normal(shape) / np.sqrt(d_model)).astype(dtype) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    return ModelSpec(
        model="tiny",
        revision="sha256:tiny",
        folder=str(folder),
        architecture="TinyForCausalLM",
        n_layers=n_layers,
        d_model=d_model,
        d_mlp=d_mlp,
        n_vocab=n_vocab,
        act_fn="silu",
        gate="{layer}.gate.weight",
        in_="{layer}.up.weight",
        out="{layer}.down.weight",
        embed="embed.weight",
        unembed="head.weight",
        bias=bias,
    )

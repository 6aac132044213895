"""A tiny mixture of experts in which one token drives one neuron of one expert, and one expert is never reached.

Attention and the first layer's experts write nothing, so in the first two layers x is the token's embedding over its
root mean square. Its first entry is 4 at the planted token and 0 at all others.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gluscope.core.neuron import NeuronId
from gluscope.model.describe import describe
from helpers.scan_case import Case, prepare

PLANTED, UNREACHED = NeuronId(1, 7, "E4"), NeuronId(1, 3, "E5")
GATE, IN = 120.0, -200.0  # at the token, far from what random weights give
POST = GATE * IN  # silu(120) is 120
_ONLY_TOKEN, _EVERY_TOKEN, _SIZE = 0, 1, 4.0  # entries of the embedding; 32 entries: two of 4 have mean square 1


@dataclass(frozen=True)
class Planted:
    """token: the planted one's id. reach: by layer, the experts (sorted) that a token is sent to, from its id."""

    case: Case
    token: int
    reach: dict[int, Callable[[int], list[int]]]

    @property
    def at(self) -> list[tuple[int, int]]:
        """(row, position) of the planted token, everywhere."""
        return [
            (row, at) for row, ids in enumerate(self.case.ids) for at, token in enumerate(ids) if token == self.token
        ]


def plant(folder: Path) -> Planted:
    case = prepare(folder, "OlmoeForCausalLM", rms_norm_eps=0.0)
    tokens = [token for ids in case.ids for token in ids]
    token = next(token for token in sorted(set(tokens)) if 6 <= tokens.count(token) <= 12)
    file = case.folder / "model.safetensors"
    weights = _changed(file, lambda weights: _plant(weights, token))
    reach = {layer: _router(weights, layer) for layer in (0, PLANTED.layer)}
    return Planted(replace(case, spec=describe(str(case.folder), None)), token, reach)


def flip(case: Case, folder: Path, negated: np.ndarray) -> Case:
    """The same model with w_in and w_out of some neurons of experts negated. negated: bool [layer, neuron]."""

    def turn(weights: dict[str, Any]) -> None:
        for layer, place in np.argwhere(negated).tolist():
            neuron = case.spec.size.neuron(layer, place)
            expert = f"model.layers.{layer}.mlp.experts.{neuron.expert[1:]}"
            weights[f"{expert}.up_proj.weight"][neuron.neuron] *= -1
            weights[f"{expert}.down_proj.weight"][:, neuron.neuron] *= -1

    shutil.copytree(case.folder, folder)
    _changed(folder / "model.safetensors", turn)
    return replace(case, folder=folder, spec=describe(str(folder), None))


def _plant(weights: dict[str, Any], token: int) -> None:
    embedding = weights["model.embed_tokens.weight"]
    embedding[:, _ONLY_TOKEN], embedding[:, _EVERY_TOKEN] = 0.0, _SIZE
    embedding[token] = 0.0
    embedding[token, [_ONLY_TOKEN, _EVERY_TOKEN]] = _SIZE
    for name in weights:
        if name.endswith("o_proj.weight") or ("layers.0.mlp.experts" in name and name.endswith("down_proj.weight")):
            weights[name][:] = 0.0
        if name.endswith("post_attention_layernorm.weight"):
            weights[name][:] = 1.0
    mlp, expert = f"model.layers.{PLANTED.layer}.mlp", int(PLANTED.expert[1:])
    router = weights[f"{mlp}.gate.weight"]
    router[:, [_ONLY_TOKEN, _EVERY_TOKEN]] = 0.0
    router[expert, _ONLY_TOKEN], router[2, _ONLY_TOKEN] = 2.0, 1.0
    router[int(UNREACHED.expert[1:]), _EVERY_TOKEN] = -100.0
    for part, value in (("gate_proj", GATE), ("up_proj", IN)):
        row = weights[f"{mlp}.experts.{expert}.{part}.weight"][PLANTED.neuron]
        row[:] = 0.0
        row[_ONLY_TOKEN] = value / _SIZE


def _changed(file: Path, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})
    return weights


def _router(weights: dict[str, Any], layer: int) -> Callable[[int], list[int]]:
    embedding, router = (
        weights[name].double().numpy()
        for name in ("model.embed_tokens.weight", f"model.layers.{layer}.mlp.gate.weight")
    )
    return lambda token: sorted(np.argsort(router @ embedding[token])[-2:].tolist())

"""What a scan must find, the slow way: a float64 Hugging Face forward pass a text, then loops over tokens.

Nothing of the library's computation is used: the gated MLP's formula is written out here for models with
`gate_proj` and `up_proj` (or the fused `gate_up_proj`), and cases are told by comparing numbers with zero.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

CASE_NAMES = ("gate+_in+", "gate+_in-", "gate-_in+", "gate-_in-")
QUANTITY_NAMES = ("gate", "in", "act", "post")


@dataclass
class Text:
    """Of one text: x float64 [layer, token, d_model]; values float64 [layer, token, neuron, quantity]."""

    x: np.ndarray
    values: np.ndarray


@dataclass
class Found:
    """Of one neuron and case.

    count: tokens. unsure: those so near to another case that float32 may put them there. sums: by quantity.
    extremes: by quantity, (value, row, position) of each text's extreme.
    """

    count: int = 0
    unsure: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * 4)
    extremes: list[list[tuple[float, int, int]]] = field(default_factory=lambda: [[] for _ in range(4)])


def forward(folder: Path, texts: list[list[int]], act: str = "silu") -> list[Text]:
    """Every text alone through a float64 model; x is what its gate projection is given."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    mlps = [block.mlp for block in model.model.layers]
    seen: dict[int, np.ndarray] = {}
    for layer, mlp in enumerate(mlps):
        first = mlp.gate_up_proj if hasattr(mlp, "gate_up_proj") else mlp.gate_proj

        def keep(_: object, args: tuple, layer: int = layer) -> None:
            seen[layer] = args[0][0].numpy().copy()

        first.register_forward_pre_hook(keep)
    found = []
    for ids in texts:
        with torch.no_grad():
            model(torch.tensor([ids]))
        x = np.stack([seen[layer] for layer in range(len(mlps))])
        found.append(Text(x, np.stack([_neurons(mlp, x[layer], act) for layer, mlp in enumerate(mlps)])))
    return found


def _neurons(mlp: object, x: np.ndarray, act: str) -> np.ndarray:
    """float64 [token, neuron, quantity]"""
    if hasattr(mlp, "gate_up_proj"):
        both = mlp.gate_up_proj.weight.detach().numpy()
        pairs = [(both[: len(both) // 2], 0.0), (both[len(both) // 2 :], 0.0)]
    else:
        pairs = [
            (part.weight.detach().numpy(), 0.0 if part.bias is None else part.bias.detach().numpy())
            for part in (mlp.gate_proj, mlp.up_proj)
        ]
    gate, in_ = (x @ weight.T + bias for weight, bias in pairs)
    opened = np.vectorize(_ACTS[act])(gate)
    return np.stack([gate, in_, opened, opened * in_], axis=-1)


def _silu(g: float) -> float:
    return g / (1 + math.exp(-g))


def _gelu_tanh(g: float) -> float:
    return 0.5 * g * (1 + math.tanh(math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)))


_ACTS = {"silu": _silu, "gelu_pytorch_tanh": _gelu_tanh}


def case_of(gate: float, in_: float) -> int | None:
    if gate == 0 or in_ == 0:
        return None
    return (0 if gate > 0 else 2) + (0 if in_ > 0 else 1)


def copies_in(texts: list[list[int]]) -> set[int]:
    """Rows that have the tokens of a lower one."""
    return {row for row, ids in enumerate(texts) if ids in texts[:row]}


def collect(
    texts: dict[int, Text],
    layer: int,
    neuron: int,
    unsure: float,
    unlisted: Collection[int] = (),
    left_out: Mapping[int, Collection[int]] | None = None,
) -> list[Found]:
    """By case, over texts by row; those of `unlisted` stand in no list, positions of `left_out` count for nothing.

    A token with |gate| or |in| below `unsure` may lie in another case in float32.
    """
    cases = [Found() for _ in CASE_NAMES]
    for row, text in texts.items():
        best: dict[tuple[int, int], tuple[float, int, int]] = {}
        for position, values in enumerate(text.values[layer, :, neuron].tolist()):
            if left_out and position in left_out[row]:
                continue
            if min(abs(values[0]), abs(values[1])) < unsure:
                for case in cases:
                    case.unsure += 1
            at = case_of(values[0], values[1])
            if at is None:
                continue
            cases[at].count += 1
            for quantity, value in enumerate(values):
                cases[at].sums[quantity] += value
                if (at, quantity) not in best or abs(value) > abs(best[at, quantity][0]):
                    best[at, quantity] = (value, row, position)
        for (at, quantity), entry in best.items() if row not in unlisted else ():
            cases[at].extremes[quantity].append(entry)
    for case in cases:
        for entries in case.extremes:
            entries.sort(key=lambda entry: (-abs(entry[0]), entry[1]))
    return cases

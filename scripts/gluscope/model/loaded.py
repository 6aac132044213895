"""Is a loaded model what its description says? Signs, cosines and pages are read from the files, not from the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from gluscope.core.errors import ModelError
from gluscope.model.capture import GatedModel
from gluscope.model.norms import unit
from gluscope.model.rows import WeightRows

_STEP = "report it, with the model's name: signs and cosines would be of other weights than those that ran"


def check_weights(model: GatedModel) -> None:
    """First and last neuron of every layer's w_gate and w_in, and w_out's first row, are those of the files.

    Compared as bits, in the loaded type. Parts that wait on the disk are left out. Raises ModelError by layer.
    """
    spec, rows = model.spec, WeightRows(model.spec)
    for layer in range(spec.n_layers):
        if spec.is_mixture(layer):
            check_experts(model, rows, layer)
            continue
        gate, in_, out = (model.linear(layer, part).weight for part in ("gate", "in", "out"))
        width = spec.size.layers[layer].dense
        first = width if spec.fused else 0
        pairs = [("w_out", out[0], rows.out_row(layer, 0))]
        for neuron in {0, width - 1}:
            pairs.append((f"w_gate of N{neuron}", gate[neuron], rows.gate(layer, neuron)))
            pairs.append((f"w_in of N{neuron}", in_[first + neuron], rows.in_(layer, neuron)))
        for name, found, stored in pairs:
            if not found.is_meta and not torch.equal(found.detach().cpu(), torch.from_numpy(stored).to(found.dtype)):
                raise ModelError(f"{spec.folder}: L{layer}", f"{name} as in its weight files", "another", _STEP)


def check_experts(model: GatedModel, rows: WeightRows, layer: int) -> None:
    """First and last neuron of the first and last expert of each kind, as `check_weights`."""
    stretches = list(model.spec.size.layers[layer].stretches())
    shared = [stretch for stretch in stretches if stretch.expert.startswith("ES")]
    for stretch in {*shared, stretches[len(shared)], stretches[-1]}:
        for number in {0, stretch.width - 1}:
            place = stretch.begin + number
            found = model.vectors(layer, stretch.expert, number)
            stored = (rows.gate(layer, place), rows.in_(layer, place), rows.out(layer, place))
            for name, one, other in zip(("w_gate", "w_in", "w_out"), found, stored, strict=True):
                if not one.is_meta and not torch.equal(one.detach().cpu(), torch.from_numpy(other).to(one.dtype)):
                    where = f"{model.spec.folder}: {rows.size.neuron(layer, place)}"
                    raise ModelError(where, f"{name} as in its weight files", "another", _STEP)


def check_reads(model: GatedModel) -> None:
    """x is what the spec's norm leaves of the residual stream, its gain as the files have it.

    Three tokens go through the layers up to the first of each kind. Raises ModelError by layer.
    """
    spec, rows = model.spec, WeightRows(model.spec)
    layers = reversed(list(enumerate(spec.norms)))
    kinds = {(norm.kind, norm.module, norm.offset, spec.is_mixture(layer)): layer for layer, norm in layers}
    seen: dict[int, _Seen] = {layer: _Seen() for layer in kinds.values()}
    if not seen:
        return
    handles: list[Any] = []
    for layer, kept in seen.items():
        block = model.blocks.get_submodule(str(layer))
        mixture = spec.mixture if spec.is_mixture(layer) else None
        mlp = (mixture.module if mixture else spec.modules["mlp"]).split(".")[0]
        handles += [part.register_forward_hook(kept.hook(name)) for name, part in block.named_children() if name != mlp]
    try:
        with model.capture(seen, lambda layer, x, *_: seen[layer].take(x), lambda layer, x, _: seen[layer].take(x)):
            model.forward(torch.tensor([[1, 2, 3]]) % spec.n_vocab, stop_at_layer=max(seen))
    finally:
        for handle in handles:
            handle.remove()
    for layer, kept in seen.items():
        _check_layer(model, layer, kept, rows.gain(layer))


class _Seen:
    """What the parts of a block take in and give, and x."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.x = torch.zeros(0)

    def hook(self, name: str) -> Any:
        def keep(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], torch.Tensor) and isinstance(output, torch.Tensor):
                self.parts[name] = args[0].clone(), output.clone()

        return keep

    def take(self, x: torch.Tensor) -> None:
        self.x = x.clone()


def _check_layer(model: GatedModel, layer: int, seen: _Seen, gain: np.ndarray | None) -> None:
    spec = model.spec
    norm, where = spec.norm(layer), f"{spec.model}: L{layer}"
    same = [name for name, (_, output) in seen.parts.items() if torch.equal(output, seen.x)]
    if (norm.module not in same) if norm.module else same:
        expected = f"what {norm.module} leaves as its MLP's input" if norm.module else "no norm before its MLP"
        found_text = f"that of {same[0]}" if same else "that of none of its block's parts"
        raise ModelError(where, expected, f"{spec.architecture} with {found_text}", _STEP)
    if norm.module is None:
        return
    module = model.blocks.get_submodule(f"{layer}.{norm.module}")
    bias = getattr(module, "bias", None)
    x = seen.x.double().cpu() - (bias.double().cpu() if bias is not None else 0.0)
    expected_x = unit(seen.parts[norm.module][0].double().cpu(), norm.kind)
    expected_x *= 1.0 if gain is None else torch.from_numpy(gain).double()
    # eps makes a token's x shorter and turns it nowhere
    length = (x * expected_x).sum(-1, keepdim=True) / expected_x.square().sum(-1, keepdim=True)
    error = float((x - length * expected_x).norm(dim=-1).max() / x.norm(dim=-1).max())
    if not error < 16 * torch.finfo(model.dtype).eps:
        expected = f"x in the direction of the {norm.kind} norm with the gain of {norm.gain or 'nothing'}"
        raise ModelError(where, expected, f"{spec.architecture}, {error:.1e} of its length away from it", _STEP)

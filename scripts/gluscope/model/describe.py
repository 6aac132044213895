"""What a model is, from its config and the headers of its weight files alone."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gluscope.core.errors import ModelError
from gluscope.core.hub import snapshot
from gluscope.core.names import is_on_hub
from gluscope.model.files import FETCH_AGAIN, Tensor, peek, read_json, refuse_two_sets, tensors_of
from gluscope.model.mixture import Mixture
from gluscope.model.mixture_sizes import speaks_of_experts
from gluscope.model.spec import ModelSpec
from gluscope.model.unchanged import revision_now

if TYPE_CHECKING:
    from gluscope.model.adapter import Layout

__all__ = ["describe", "fetch_model", "peek"]

_FILES = ["*.json", "tokenizer*", "vocab*", "merges.txt", "*.model", "*.tiktoken", "*.jinja", "*.safetensors"]
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def fetch_model(model: str, revision: str | None = None) -> Path:
    """Folder of a model: itself, or its snapshot in the hub's cache, downloaded if it is not there.

    revision: branch, tag or commit on the hub. Only safetensors, JSON and tokenizer files are ever asked for.
    Raises ModelError for a folder that does not exist and a hub id that cannot be had.
    """
    if Path(model).is_dir():
        return Path(model)
    if not is_on_hub(model):
        raise ModelError(model, "a model's folder, or a hub id", "neither", "check the path")
    return snapshot(model, "model", ModelError, revision, allow_patterns=_FILES, ignore_patterns=["*/*"])


def describe(model: str, revision: str | None = None) -> ModelSpec:
    """Describe a gated dense model without loading it.

    model: folder or hub id (fetched first, see `fetch`). revision: of a hub id; for a folder None, or the
    `sha256:...` that its files must have.
    Raises ModelError, in one line, for a model that is missing, incomplete, not gated, a mixture of experts,
    quantised, unknown, or not in safetensors.
    """
    folder = fetch_model(model, revision)
    raw = read_json(folder / "config.json", "a model's config")
    tensors = tensors_of(folder)
    if Path(model).is_dir():
        refuse_two_sets(folder)
    from gluscope.model.config import read_config

    config = read_config(folder, raw, model)
    from gluscope.model.adapter import layout  # imports TransformerLens, which takes seconds
    from gluscope.model.find_mixture import mixture_layout

    may_be_mixture = speaks_of_experts(config.get_text_config().to_dict())
    modules = (mixture_layout(config, model, tensors) if may_be_mixture else None) or layout(config, model, tensors)
    _check_stored(modules, tensors, model)
    return ModelSpec(
        model=model,
        revision=_revision(model, revision, folder),
        folder=str(folder),
        architecture=modules.architecture,
        n_layers=modules.n_layers,
        d_model=modules.d_model,
        d_mlp=modules.d_mlp,
        n_vocab=modules.n_vocab,
        act_fn=modules.act_fn,
        **modules.stored,
        bias=modules.bias,
        modules=module_names(modules),
        norms=modules.norms,
        mixture=modules.mixture,
        dtype=_DTYPES[tensors[_first_gate(modules)].dtype],
        parameters=sum(_numbers(tensor) for tensor in tensors.values()),
        positions=_positions(config),
        versions={name: version(name) for name in ("torch", "transformers", "transformer_lens")},
        stages={},
    )


def _revision(model: str, revision: str | None, folder: Path) -> str:
    if not Path(model).is_dir():
        return folder.name
    found = revision_now(folder)
    if revision is not None and revision != found:
        raise ModelError(model, f"revision {revision}", found, "leave `revision` out: it is for hub ids")
    return found


def _positions(config: Any) -> int:
    """The longest text that the model is made for, in tokens; 0 where its config does not say."""
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if type(found) is int and found > 0 else 0


def _first_gate(modules: Layout) -> str:
    """The stored tensor that has the first w_gate."""
    if modules.mixture is not None and 0 in modules.mixture.layers:
        return modules.mixture.gate.format(layer=0, expert=0)
    return modules.stored["gate"].format(layer=0)


def _check_stored(modules: Layout, tensors: dict[str, Tensor], where: str) -> None:
    """Sizes, and number formats that `WeightRows` reads."""
    mixture, d_model, n_vocab = modules.mixture, modules.d_model, modules.n_vocab
    d_mlp = mixture.dense if mixture else modules.d_mlp
    up = (2 * d_mlp if modules.gate == modules.in_ else d_mlp, d_model)
    shapes: dict[str, tuple[int, ...]] = {"gate": up, "in_": up, "out": (d_model, d_mlp)}
    heads = {"embed": (n_vocab, d_model), "unembed": (n_vocab, d_model)}
    for layer in range(modules.n_layers):
        if mixture and layer in mixture.layers:
            wanted = _experts_shapes(mixture, d_model, layer)
        else:
            wanted = {modules.stored[part].format(layer=layer): shape for part, shape in shapes.items()}
        wanted |= {modules.stored[part]: shape for part, shape in heads.items()}
        gain = modules.norms[layer].gain
        for name, shape in (wanted | ({gain: (d_model,)} if gain else {})).items():
            tensor = tensors[name]
            if tensor.shape != shape:
                expected = f"{name} of shape {shape} in its weight files"
                raise ModelError(where, expected, f"shape {tensor.shape}", FETCH_AGAIN)
            if tensor.dtype not in _DTYPES:
                step = "use the model before quantisation"
                raise ModelError(where, f"{name} as F32, F16 or BF16", tensor.dtype, step)


def _experts_shapes(mixture: Mixture, d_model: int, layer: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the stored tensors of a mixture's experts."""
    n, each = mixture.experts, mixture.each
    routed: dict[str, tuple[int, ...]] = {mixture.router: (n, d_model)}
    if mixture.form == "rows":
        for expert in range(n):
            names = [name.replace("{expert}", str(expert)) for name in (mixture.gate, mixture.in_, mixture.out)]
            routed |= dict(zip(names, ((each, d_model), (each, d_model), (d_model, each)), strict=True))
    elif mixture.form == "stacked":
        routed |= {mixture.gate: (n, 2 * each, d_model), mixture.out: (n, d_model, each)}
    else:
        routed |= {mixture.gate: (n, d_model, 2 * each), mixture.out: (n, each, d_model)}
    for number, width in enumerate(mixture.shared):
        for tensors, shape in ((mixture.shared_gate, (width, d_model)), (mixture.shared_in, (width, d_model)),
                             (mixture.shared_out, (d_model, width))):  # fmt: skip
            routed[tensors[number]] = shape
    return {name.format(layer=layer): shape for name, shape in routed.items()}


def module_names(modules: Layout) -> dict[str, str]:
    """As `ModelSpec.modules` has them."""
    names = {"layers": modules.layers, "mlp": modules.mlp, "gate": modules.gate, "in": modules.in_, "out": modules.out}
    return names | ({"act": modules.act} if modules.act else {})


def _numbers(tensor: Tensor) -> int:
    return math.prod(tensor.shape)

"""What a model is, from its config and the headers of its weight files alone."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gluscope.core.errors import ModelError, one_line
from gluscope.core.names import is_hub_id
from gluscope.model.files import FETCH_AGAIN, Tensor, peek, read_json, tensors_of
from gluscope.model.spec import ModelSpec
from gluscope.model.unchanged import revision_now

if TYPE_CHECKING:
    from gluscope.model.adapter import Layout

__all__ = ["describe", "fetch", "peek"]

_TOKENIZER = ["*.json", "tokenizer*", "vocab*", "merges.txt", "*.model", "*.tiktoken", "*.jinja"]
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def fetch(model: str, revision: str | None = None, *, weights: bool = True) -> Path:
    """Folder of a model: itself, or its snapshot in the hub cache, downloaded if it is not there.

    revision: branch, tag or commit on the hub. weights: False for the tokenizer and config alone. Only safetensors,
    JSON and tokenizer files are ever asked for. With HF_HUB_OFFLINE=1, as in jobs, nothing is downloaded.
    Raises ModelError for a folder that does not exist and a hub id that cannot be had.
    """
    if Path(model).is_dir():
        return Path(model)
    if not is_hub_id(model):
        raise ModelError(model, "a model's folder, or a hub id", "neither", "check the path")
    return _snapshot(model, revision, weights)


def _snapshot(model: str, revision: str | None, weights: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    patterns = [*_TOKENIZER, "*.safetensors"] if weights else _TOKENIZER
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except GatedRepoError as error:
        reason, step = (
            "one whose licence is not accepted yet",
            "accept it on the model's page and log in (hf auth login)",
        )
        raise ModelError(model, "a model that may be downloaded", reason, step) from error
    except RevisionNotFoundError as error:
        raise ModelError(model, f"revision {revision}", "no such revision on the hub", "check `revision`") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        found = "no such folder here, and none of that name on the hub"
        raise ModelError(model, "a model's folder, or a hub id", found, "check the name") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        found = f"no such folder, and a hub cache without it{f' at {revision}' if revision else ''} on this machine"
        step = "fetch it where there is a network (unset HF_HUB_OFFLINE), or check the path"
        if isinstance(error, OSError) and not isinstance(error, LocalEntryNotFoundError | HfHubHTTPError):
            found = one_line(error)
        raise ModelError(model, "a model's folder, or a hub id", found, step) from error


def describe(model: str, revision: str | None = None) -> ModelSpec:
    """Describe a gated dense model without loading it.

    model: folder or hub id (fetched first, see `fetch`). revision: of a hub id; for a folder None, or the
    `sha256:...` that its files must have.
    Raises ModelError, in one line, for a model that is missing, incomplete, not gated, a mixture of experts,
    quantised, unknown, or not in safetensors.
    """
    folder = fetch(model, revision)
    raw = read_json(folder / "config.json", "a model's config")
    tensors = tensors_of(folder)
    config = _config(folder, raw, model)
    from gluscope.model.adapter import layout  # imports TransformerLens, which takes seconds

    modules = layout(config, model)
    names = _tensor_names(modules, config, tensors, model)
    _check_shapes(modules, names, tensors, model)
    gate = names["gate"]
    bias = gate.format(layer=0).removesuffix("weight") + "bias" in tensors
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
        **names,
        bias=bias,
        modules=_module_names(modules),
        dtype=_DTYPES[tensors[gate.format(layer=0)].dtype],
        parameters=sum(_numbers(tensor) for tensor in tensors.values()),
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


def _config(folder: Path, raw: dict[str, Any], where: str) -> Any:
    """The HF config object of config.json, `raw`. Code that came with the model is never run."""
    if raw.get("quantization_config"):
        method = raw["quantization_config"].get("quant_method", "quantised")
        raise ModelError(where, "plain float weights", f"{method} ones", "use the model before quantisation")
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a config class makes of an unknown or broken config
        from gluscope.model.adapter import WORKS

        classes = ", ".join(raw.get("architectures") or [f"model_type {raw.get('model_type')}"])
        known = "auto_map" in raw or f"`{raw.get('model_type')}`" in str(error)
        reason = "a class that needs code of its own, which is never run" if known else one_line(error)[:200]
        found = f"{classes}, {reason}"
        raise ModelError(where, "a dense language model with gated MLPs", found, WORKS) from error


def _tensor_names(modules: Layout, config: Any, tensors: dict[str, Tensor], where: str) -> dict[str, str]:
    """Names in the files for names in the model: some checkpoints carry other prefixes than the class does."""
    blocks = {
        name: f"{modules.layers}.{{layer}}.{modules.mlp}.{part}.weight"
        for name, part in (("gate", modules.gate), ("in_", modules.in_), ("out", modules.out))
    }
    stored = {name: _stored_name(text, tensors) for name, text in blocks.items()}
    heads = {"embed": f"{modules.embed}.weight", "unembed": f"{modules.unembed}.weight"}
    stored |= {name: _stored_name(text, tensors) for name, text in heads.items()}
    if any(getattr(part, "tie_word_embeddings", False) for part in (config, config.get_text_config())):
        stored["embed"], stored["unembed"] = stored["embed"] or stored["unembed"], stored["unembed"] or stored["embed"]
    for name, text in (blocks | heads).items():
        if stored[name] is None:
            raise ModelError(where, f"a tensor {text.format(layer=0)}", "none in its weight files", FETCH_AGAIN)
    return {name: str(found) for name, found in stored.items()}


def _stored_name(name: str, tensors: dict[str, Tensor]) -> str | None:
    """`name` itself, or the one stored name that ends in as long a part of it as possible."""
    if name.format(layer=0) in tensors:
        return name
    parts = name.split(".")
    for start in range(len(parts) - 1):
        end = ".".join(parts[start:])
        found = [stored for stored in tensors if f".{stored}".endswith(f".{end.format(layer=0)}")]
        if found:
            return found[0].removesuffix(end.format(layer=0)) + end if len(found) == 1 else None
    return None


def _check_shapes(modules: Layout, names: dict[str, str], tensors: dict[str, Tensor], where: str) -> None:
    d_mlp, d_model, n_vocab = modules.d_mlp, modules.d_model, modules.n_vocab
    up = (2 * d_mlp if modules.gate == modules.in_ else d_mlp, d_model)
    shapes = {
        "gate": up,
        "in_": up,
        "out": (d_model, d_mlp),
        "embed": (n_vocab, d_model),
        "unembed": (n_vocab, d_model),
    }
    for layer in range(modules.n_layers):
        for part, shape in shapes.items():
            name = names[part].format(layer=layer)
            tensor = tensors.get(name)
            if tensor is None or tensor.shape != shape:
                found = f"shape {tensor.shape}" if tensor else "no such tensor"
                raise ModelError(where, f"{name} of shape {shape} in its weight files", found, FETCH_AGAIN)
            if tensor.dtype not in _DTYPES:
                raise ModelError(
                    where, f"{name} as F32, F16 or BF16", tensor.dtype, "use the model before quantisation"
                )


def _module_names(modules: Layout) -> dict[str, str]:
    names = {"layers": modules.layers, "mlp": modules.mlp, "gate": modules.gate, "in": modules.in_, "out": modules.out}
    return names | ({"act": modules.act} if modules.act else {})


def _numbers(tensor: Tensor) -> int:
    return math.prod(tensor.shape)

"""Where a model's gated MLPs are, by TransformerLens' architecture adapters, from the config alone.

The adapters name the modules of the plain Hugging Face model, which then runs at its own speed. Imports torch,
transformers and transformer_lens (seconds): `describe` alone does, once a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn
from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
from transformer_lens.model_bridge.generalized_components import GatedMLPBridge, JointGateUpMLPBridge
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_config_from_hf
from transformer_lens.model_bridge.sources._hf_format import determine_architecture_from_hf_config
from transformers.activations import ACT2FN
from transformers.initialization import no_init_weights

from gluscope.core import activation
from gluscope.core.errors import ModelError, one_line
from gluscope.model.files import Tensor
from gluscope.model.keys import StoredKeys, stored_keys, tied
from gluscope.model.mixture import Mixture
from gluscope.model.norms import norms_of
from gluscope.model.spec import Norm

# Architectures that tests compare with the plain model in float64 and with TransformerLens' bridge (docs/models.md).
TESTED = (
    "OlmoForCausalLM",
    "Olmo2ForCausalLM",
    "Olmo3ForCausalLM",
    "OlmoHybridForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Ministral3ForCausalLM",
    "Mistral3ForConditionalGeneration",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3_5ForCausalLM",
    "Qwen3_5ForConditionalGeneration",
    "GemmaForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "Gemma3ForConditionalGeneration",
    "Gemma4ForCausalLM",
    "VaultGemmaForCausalLM",
    "Phi3ForCausalLM",
    "GlmForCausalLM",
    "Glm4ForCausalLM",
    "GraniteForCausalLM",
    "CohereForCausalLM",
    "Cohere2ForCausalLM",
    "SmolLM3ForCausalLM",
    "StableLmForCausalLM",
    "SeedOssForCausalLM",
    "Ernie4_5ForCausalLM",
    "Exaone4ForCausalLM",
    "HunYuanDenseV1ForCausalLM",
    "YoutuForCausalLM",
    "Lfm2ForCausalLM",
    "BambaForCausalLM",
)
WORKS = "use one of " + ", ".join(name.removesuffix("ForCausalLM") for name in TESTED)
# Gated by their adapters, but what the adapter calls gate, in and post is not what docs/notation.md means by it.
_OTHERWISE = {
    "BitNetForCausalLM": "an MLP with a norm before its last projection",
    "FalconH1ForCausalLM": "an MLP that scales its gate",
    "Gemma3nForConditionalGeneration": "an MLP that keeps only the largest gates",
    **dict.fromkeys(("Llama4ForCausalLM", "Llama4ForConditionalGeneration"), "experts whose router scales their input"),
}

_NOT_GATED = "an MLP that is not gated, or not known as gated to TransformerLens"

# Where blocks with this child have no norm before the MLP: there the adapter's name is that of another norm.
_NONE_BESIDE = {"OlmoHybridForCausalLM": "post_feedforward_layernorm"}

# With an image part whose adapter asks for more packages; the text part is a class of its own and reads the same files.
_TEXT_PART = {"Qwen3_5ForConditionalGeneration": "Qwen3_5ForCausalLM"}


@dataclass(frozen=True)
class Layout:
    """Names of a model's modules.

    layers: list of blocks, from the whole model. mlp: from a block. gate, in_, out, act: from the MLP; act None where
    a plain function is called. embed, unembed: from the whole model. stored: names of weight tensors in the files, by
    ModelSpec's field. bias: gate and in have biases. The sizes, norms and act_fn: see ModelSpec.
    """

    architecture: str
    layers: str
    mlp: str
    gate: str
    in_: str
    out: str
    act: str | None
    embed: str
    unembed: str
    n_layers: int
    d_model: int
    d_mlp: int
    n_vocab: int
    act_fn: str
    stored: dict[str, str]
    bias: bool
    norms: tuple[Norm, ...]
    mixture: Mixture | None = None


def layout(config: Any, where: str, tensors: dict[str, Tensor] | None = None) -> Layout:
    """Find the gated MLPs of the model that a Hugging Face config describes, and their weights among `tensors`.

    No weights are read: sizes and names of the stored tensors are enough. Without `tensors` they are the model's own.

    Raises ModelError, with the class's name, for a model that is unknown, not gated, a mixture of experts, or whose
    MLP is something other than out(act(gate(x)) * in(x)).
    """
    architecture, adapter, config = _adapter(config, where)
    blocks, embed, unembed = (adapter.component_mapping.get(name) for name in ("blocks", "embed", "unembed"))
    mlp: Any = (getattr(blocks, "submodules", None) or {}).get("mlp")
    if architecture in _OTHERWISE:
        raise refused(where, architecture, _OTHERWISE[architecture])
    if not isinstance(mlp, GatedMLPBridge) or not (blocks and embed and unembed):
        raise refused(where, architecture, _NOT_GATED if mlp is None else _kind(mlp))
    fused = mlp.fused_attr if isinstance(mlp, JointGateUpMLPBridge) else None
    model = empty_model(config, architecture, where)
    names = {
        "gate": str(fused or mlp.submodules["gate"].name),
        "in_": str(fused or mlp.submodules["in"].name),
        "out": str(mlp.submodules["out"].name),
    }
    layers = model.get_submodule(blocks.name)
    act = _check_modules(layers, str(mlp.name), names, where, architecture)
    first = layers[0].get_submodule(str(mlp.name))
    out = first.get_submodule(names["out"])
    own = {name: name for name in model.state_dict()}
    keys = StoredKeys(own, {}) if tensors is None else stored_keys(model, tensors, where)
    paths = {part: f"{blocks.name}.{{layer}}.{mlp.name}.{name}.weight" for part, name in names.items()}
    stored = {part: stored_template(keys, path, range(len(layers)), where) for part, path in paths.items()}
    heads = {"embed": f"{embed.name}.weight", "unembed": f"{unembed.name}.weight"}
    stored |= {part: head_name(model, keys, name, where) for part, name in heads.items()}
    names_of_norms = [_norm_name(architecture, adapter, block) for block in layers]
    return Layout(
        architecture=architecture,
        layers=blocks.name,
        mlp=str(mlp.name),
        gate=names["gate"],
        in_=names["in_"],
        out=names["out"],
        act=act,
        embed=embed.name,
        unembed=unembed.name,
        n_layers=len(layers),
        d_model=out.out_features,
        d_mlp=out.in_features,
        n_vocab=model.get_submodule(embed.name).weight.shape[0],
        act_fn=_act_name(config, first, act, where, architecture),
        stored=stored,
        bias=first.get_submodule(names["gate"]).bias is not None,
        norms=norms_of(layers, names_of_norms, f"{blocks.name}.{{layer}}", keys, out.out_features, where),
    )


def stored_template(keys: StoredKeys, path: str, layers: Sequence[int], where: str) -> str:
    """The stored name with `{layer}`, which must be of one pattern in all of `layers`."""
    first = layers[0]
    found = keys.of(path.format(layer=first), where)
    ours, theirs = path.split("{layer}"), found.split(".")
    places = [i for i, part in enumerate(theirs) if part == str(first)]
    for place in places:
        template = ".".join("{layer}" if i == place else part for i, part in enumerate(theirs))
        if all(keys.of(path.format(layer=layer), where) == template.format(layer=layer) for layer in layers):
            return template
    expected = f"layers stored under names that differ in a number, as {ours[0]}{first}{ours[1]}"
    raise ModelError(where, expected, found, "load it and save it with save_pretrained")


def head_name(model: Any, keys: StoredKeys, parameter: str, where: str) -> str:
    """The stored name of an embedding; of the one that it is tied to where the files have that one alone."""
    names = [parameter, *tied(model, parameter)]
    return keys.of(next((name for name in names if keys.has(name)), parameter), where)


def _norm_name(architecture: str, adapter: Any, block: Any) -> str | None:
    """The child of a block that is the norm before its MLP: the adapter's ln2, or ln1 where attention reads it too."""
    children = dict(block.named_children())
    if _NONE_BESIDE.get(architecture) in children:
        return None
    parts = adapter.component_mapping["blocks"].submodules
    own = ("ln2", "ln1") if getattr(adapter.cfg, "parallel_attn_mlp", False) else ("ln2",)
    return next((str(parts[name].name) for name in own if name in parts and parts[name].name in children), None)


def _adapter(config: Any, where: str) -> tuple[str, Any, Any]:
    """HF class name of the model, TransformerLens' adapter of it, and the config of that class."""
    try:
        architecture = str(determine_architecture_from_hf_config(config))
    except ValueError as error:
        classes = ", ".join(getattr(config, "architectures", None) or [f"model_type {config.model_type}"])
        raise refused(where, classes, "a class that TransformerLens does not know") from error
    if architecture in _TEXT_PART:
        architecture, config = _TEXT_PART[architecture], config.get_text_config()
    if not hasattr(transformers, architecture):
        raise refused(where, architecture, "a class that needs code of its own, which is never run")
    try:
        bridge_config = build_bridge_config_from_hf(config, architecture, "local", torch.float32)
        return architecture, ArchitectureAdapterFactory.select_architecture_adapter(bridge_config), config
    except Exception as error:  # whatever an adapter makes of a config that it does not expect
        raise refused(where, architecture, f"with which TransformerLens fails ({one_line(error)[:150]})") from error


def refused(where: str, architecture: str, found: str) -> ModelError:
    return ModelError(where, "a dense language model with gated MLPs", f"{architecture}, {found}", WORKS)


def _kind(mlp: Any) -> str:
    return "a mixture of experts" if "MoE" in type(mlp).__name__ else _NOT_GATED


def empty_model(config: Any, architecture: str, where: str) -> Any:
    """The model without memory for its weights."""
    try:
        with torch.device("meta"), no_init_weights():
            return getattr(transformers, architecture)(config)
    except Exception as error:  # whatever a model class makes of a config that does not fit
        raise refused(where, architecture, f"a config that it refuses ({one_line(error)[:150]})") from error


def _check_modules(blocks: Any, mlp: str, names: dict[str, str], where: str, architecture: str) -> str | None:
    """Every block has the MLP, made of linear maps of the same sizes and nothing else but act. Returns act's name."""
    acts, sizes = set(), set()
    for block in blocks:
        children = dict(block.named_children())
        if {"experts", "router"} & set(children) or mlp.split(".")[0] not in children:
            raise refused(where, architecture, "a mixture of experts, or blocks without an MLP")
        parts = dict(block.get_submodule(mlp).named_children())
        linear = [parts.pop(name, None) for name in dict.fromkeys(names.values())]
        if not all(type(part) is nn.Linear for part in linear) or len(parts) > 1:
            raise refused(where, architecture, f"an MLP of {', '.join([*names.values(), *parts])}")
        acts.add(next(iter(parts), None))
        sizes.add(tuple((part.in_features, part.out_features) for part in linear if isinstance(part, nn.Linear)))
    if len(acts) != 1 or len(sizes) != 1:
        raise refused(where, architecture, "MLPs that differ from layer to layer")
    return acts.pop()


_ACTS = ("hidden_activation", "hidden_act", "activation_function")  # the config's keys


def _act_name(config: Any, mlp: Any, act: str | None, where: str, architecture: str) -> str:
    if act is not None:
        return named_act(config, mlp.get_submodule(act), where, architecture)
    named = (getattr(config.get_text_config(), key, None) for key in _ACTS)
    return next((name for name in named if isinstance(name, str)), "silu")  # LFM2 calls silu itself; `load` tries it


def named_act(config: Any, module: Any, where: str, architecture: str) -> str:
    """The activation's name, which is the config's; checked against the module that the model really made."""
    named = [getattr(config.get_text_config(), key, None) for key in _ACTS]
    for name in named:
        if isinstance(name, str) and name in ACT2FN and repr(ACT2FN[name]) == repr(module):
            if name in activation.NAMES:
                return name
            break
    raise refused(where, architecture, f"the activation {module!r}, not one of {', '.join(activation.NAMES)}")

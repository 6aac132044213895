"""The neurons of a mixture of experts by its config.json alone, for what is asked before the model is described.

Only for classes that are tested, and where every key that decides is written; `describe` looks at the model itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gluscope.core.size import LayerNeurons, Size

_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_CHOSEN = ("num_experts_per_tok", "top_k_experts", "moe_k", "moe_topk")


def speaks_of_experts(config: Mapping[str, Any]) -> bool:
    """Whether a config is that of a mixture of experts."""
    return any(type(number := config.get(key)) is int and number > 1 for key in _COUNTS)


def chosen_of(config: Mapping[str, Any]) -> int | None:
    """To how many experts a token is sent; None where the config does not say."""
    return next((config[key] for key in _CHOSEN if type(config.get(key)) is int), None)


def mixture_size(config: Mapping[str, Any]) -> Size | None:
    """The neurons of a model; None where that cannot be known from these keys."""
    layout = _LAYOUTS.get(str(config.get("model_type")))
    if layout is None:
        return None
    try:
        mixture, dense, is_mixture = layout(config)
        layers = range(config["num_hidden_layers"])
        return Size(tuple(mixture if is_mixture(layer) else LayerNeurons(dense) for layer in layers))
    except (KeyError, TypeError):
        return None


_Layout = tuple[LayerNeurons, int, Callable[[int], bool]]


def _everywhere(config: Mapping[str, Any]) -> _Layout:
    count = next(config[key] for key in _COUNTS if key in config)
    return LayerNeurons(0, (), count, config["intermediate_size"]), 0, lambda layer: True


def _qwen(config: Mapping[str, Any]) -> _Layout:
    shared = (config["shared_expert_intermediate_size"],) if config["model_type"] == "qwen2_moe" else ()
    mixture = LayerNeurons(0, shared, _count(config), config["moe_intermediate_size"])
    step, dense = config.get("decoder_sparse_step", 1), config.get("mlp_only_layers") or []
    return mixture, config["intermediate_size"], lambda layer: layer not in dense and (layer + 1) % step == 0


def _deepseek(config: Mapping[str, Any]) -> _Layout:
    each = config["moe_intermediate_size"]
    shared = (each * config["n_shared_experts"],) if config["n_shared_experts"] else ()
    first = config["first_k_dense_replace"]
    mixture = LayerNeurons(0, shared, _count(config), each)
    return mixture, config["intermediate_size"], lambda layer: layer >= first


def _ernie(config: Mapping[str, Any]) -> _Layout:
    each, shared = config["moe_intermediate_size"], config["moe_num_shared_experts"]
    mixture = LayerNeurons(0, (each * shared,) if shared else (), _count(config), each)
    first, interval = config["moe_layer_start_index"], config["moe_layer_interval"]
    last = config["moe_layer_end_index"]
    last = config["num_hidden_layers"] - 1 if last == -1 else last
    return mixture, config["intermediate_size"], lambda n: (n + 1) % interval == 0 and first <= n <= last


def _count(config: Mapping[str, Any]) -> int:
    return int(next(config[key] for key in _COUNTS if key in config))


_LAYOUTS: dict[str, Callable[[Mapping[str, Any]], _Layout]] = {
    "olmoe": _everywhere,
    "mixtral": _everywhere,
    "gpt_oss": _everywhere,
    "qwen2_moe": _qwen,
    "qwen3_moe": _qwen,
    "deepseek_v3": _deepseek,
    "glm4_moe": _deepseek,
    "ernie4_5_moe": _ernie,
}

"""Tiny random mixtures of experts, one of each tested class, saved as Hugging Face folders.

    folder = make_experts("OlmoeForCausalLM", tmp_path / "model")     # 3 layers, d_model 32, 6 or 8 experts, 2 chosen

All weights are random, norm gains, router and biases too. The same arguments give the same files.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

_COMMON = {
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "num_experts_per_tok": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {
    "n_routed_experts": 8,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "routed_scaling_factor": 1.5,
}
# HF class -> (model_type, settings beyond the common ones).
MIXTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "OlmoeForCausalLM": ("olmoe", {"num_experts": 6}),
    "MixtralForCausalLM": ("mixtral", {"num_local_experts": 6}),
    "Qwen2MoeForCausalLM": (
        "qwen2_moe",
        {
            "num_experts": 6,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 20,
            "mlp_only_layers": [0],
            "decoder_sparse_step": 1,
        },
    ),
    "Qwen3MoeForCausalLM": (
        "qwen3_moe",
        {"num_experts": 6, "moe_intermediate_size": 16, "head_dim": 8, "norm_topk_prob": True},
    ),
    "DeepseekV3ForCausalLM": (
        "deepseek_v3",
        {
            **_GROUPED,
            "n_shared_experts": 2,
            "n_group": 2,
            "topk_group": 1,
            "q_lora_rank": None,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 4,
            "v_head_dim": 8,
            "num_key_value_heads": 4,
        },
    ),
    "Glm4MoeForCausalLM": (
        "glm4_moe",
        {**_GROUPED, "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "head_dim": 8},
    ),
    "GptOssForCausalLM": ("gpt_oss", {"num_local_experts": 6, "head_dim": 8, "sliding_window": 4}),
    "Ernie4_5_MoeForCausalLM": (
        "ernie4_5_moe",
        {
            "moe_num_experts": 6,
            "moe_k": 2,
            "moe_intermediate_size": 16,
            "moe_layer_start_index": 1,
            "moe_layer_end_index": 2,
            "moe_layer_interval": 1,
            "moe_num_shared_experts": 2,
        },
    ),
}


def make_experts(
    architecture: str, folder: str | Path, vocab: int = 60, tokenizer: str | Path | None = None, **settings: Any
) -> Path:
    """Save the tiny model. tokenizer: a tokenizer.json to copy. settings: of its config."""
    import torch
    import transformers

    kind, own = MIXTURES[architecture]
    config = transformers.CONFIG_MAPPING[kind](**{**_COMMON, "vocab_size": vocab, **own, **settings})
    config.architectures = [architecture]
    model = getattr(transformers, architecture)(config)
    generator = torch.Generator().manual_seed(sum(map(ord, architecture)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1.0 if parameter.ndim < 2 else 0.4 if "experts" in name or "embed" in name else 0.2
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    model.save_pretrained(folder)
    if tokenizer is not None:
        shutil.copy(tokenizer, Path(folder) / "tokenizer.json")
    return Path(folder)

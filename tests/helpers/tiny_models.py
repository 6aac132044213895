"""Tiny random models with tokenizers, saved as Hugging Face folders.

    folder = make("OlmoForCausalLM", tmp_path / "model")                       # 2 layers, d_model 32, d_mlp 48
    folder = make("Gemma2ForCausalLM", tmp_path / "gemma", n_layers=3, dtype="bfloat16")

All weights are random, norm gains and biases too (a gain of one or a bias of zero would hide mistakes), of a size
that keeps activations around one. The same arguments give the same files.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
_TEXT = (
    "the cat sat on the mat and the dog sat by the door . a neuron reads a token and writes a token . "
    "one two three four five six seven eight nine ten . Paris is the capital of France and Rome of Italy . "
    "if x is 1 then y is 2 ; for i in range ( 10 ) : print ( i ) return None . "
)

_HALF_LOCAL = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
_GEMMA = {"head_dim": 16, "sliding_window": 4, "query_pre_attn_scalar": 16}
_IMAGES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "patch_size": 14,
}
_MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8}

# HF class -> (model_type, settings beyond the common ones). Small windows so that a few tokens reach past them.
# With `text_config` the model has an image part too, and the common settings go there. layer_types are repeated.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "OlmoForCausalLM": ("olmo", {"clip_qkv": 8.0}),
    "Olmo2ForCausalLM": ("olmo2", {}),
    "Olmo3ForCausalLM": ("olmo3", _HALF_LOCAL),
    "OlmoHybridForCausalLM": ("olmo_hybrid", {"layer_types": ["linear_attention", "full_attention"]}),
    "LlamaForCausalLM": ("llama", {"mlp_bias": True, "attention_bias": True}),
    "MistralForCausalLM": ("mistral", {"sliding_window": 4}),
    "Ministral3ForCausalLM": ("ministral3", {}),
    "Mistral3ForConditionalGeneration": (
        "mistral3",
        {
            "text_config": {"model_type": "mistral", "head_dim": 8},
            "vision_config": {"model_type": "pixtral", **_IMAGES},
        },
    ),
    "Qwen2ForCausalLM": ("qwen2", {}),
    "Qwen3ForCausalLM": ("qwen3", {"head_dim": 8}),
    "Qwen3_5ForCausalLM": ("qwen3_5_text", {"head_dim": 8, "layer_types": ["linear_attention", "full_attention"]}),
    "Qwen3_5ForConditionalGeneration": (
        "qwen3_5",
        {
            "text_config": {"head_dim": 8, "layer_types": ["linear_attention", "full_attention"]},
            "vision_config": {
                "hidden_size": 16,
                "intermediate_size": 24,
                "depth": 1,
                "num_heads": 2,
                "out_hidden_size": 32,
            },
        },
    ),
    "GemmaForCausalLM": ("gemma", {"head_dim": 16}),
    "Gemma2ForCausalLM": ("gemma2", {**_GEMMA, "attn_logit_softcapping": 2.0}),
    "Gemma3ForCausalLM": ("gemma3_text", {**_GEMMA, **_HALF_LOCAL}),
    "Gemma3ForConditionalGeneration": (
        "gemma3",
        {"text_config": {**_GEMMA, **_HALF_LOCAL}, "vision_config": {**_IMAGES, "image_size": 28}},
    ),
    "Gemma4ForCausalLM": (
        "gemma4_text",
        {
            **_HALF_LOCAL,
            "head_dim": 16,
            "global_head_dim": 16,
            "hidden_size_per_layer_input": 0,
            "num_kv_shared_layers": 0,
            "enable_moe_block": False,
        },
    ),
    "VaultGemmaForCausalLM": ("vaultgemma", {**_GEMMA, "attn_logit_softcapping": 2.0}),
    "Phi3ForCausalLM": ("phi3", {"sliding_window": 4}),
    "GlmForCausalLM": ("glm", {"head_dim": 8}),
    "Glm4ForCausalLM": ("glm4", {"head_dim": 8}),
    "GraniteForCausalLM": (
        "granite",
        {"residual_multiplier": 0.5, "embedding_multiplier": 2.0, "attention_multiplier": 0.3, "mlp_bias": True},
    ),
    "CohereForCausalLM": ("cohere", {}),
    "Cohere2ForCausalLM": ("cohere2", _HALF_LOCAL),
    "SmolLM3ForCausalLM": ("smollm3", {"mlp_bias": True, "no_rope_layer_interval": 2}),
    "StableLmForCausalLM": ("stablelm", {"use_qkv_bias": True}),
    "SeedOssForCausalLM": ("seed_oss", {"mlp_bias": True, "head_dim": 8}),
    "Ernie4_5ForCausalLM": ("ernie4_5", {"use_bias": True, "head_dim": 8}),
    "Exaone4ForCausalLM": ("exaone4", _HALF_LOCAL),
    "HunYuanDenseV1ForCausalLM": ("hunyuan_v1_dense", {"head_dim": 8}),
    "YoutuForCausalLM": (
        "youtu",
        {
            "num_key_value_heads": 4,
            "kv_lora_rank": 8,
            "q_lora_rank": 8,
            # 16 bytes and multiples: attention kernels of GPUs want rows aligned.
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 16,
        },
    ),
    "Lfm2ForCausalLM": ("lfm2", {"layer_types": ["conv", "full_attention"], "block_multiple_of": 16}),
    "BambaForCausalLM": ("bamba", {"attn_layer_indices": [1], **_MAMBA}),
    # refused: not gated, experts, or gated in another way
    "GPT2LMHeadModel": ("gpt2", {}),
    "GPTNeoXForCausalLM": ("gpt_neox", {}),
    "MixtralForCausalLM": ("mixtral", {"num_local_experts": 2}),
    "OlmoeForCausalLM": ("olmoe", {"num_experts": 4, "num_experts_per_tok": 2}),
    "Qwen2MoeForCausalLM": ("qwen2_moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
    "FalconH1ForCausalLM": ("falcon_h1", {**_MAMBA, "mamba_d_ssm": 64, "mlp_multipliers": [0.5, 2.0]}),
    "BitNetForCausalLM": ("bitnet", {}),
}


def make(
    architecture: str = "OlmoForCausalLM",
    folder: str | Path = "model",
    *,
    n_layers: int = 2,
    d_model: int = 32,
    d_mlp: int = 48,
    n_heads: int = 4,
    n_kv_heads: int = 2,
    n_vocab: int = 320,
    dtype: str = "float32",
    seed: int = 0,
    max_shard_size: str = "5GB",
    adds_bos: bool = True,
    has_bos: bool = True,
    **settings: Any,
) -> Path:
    """Write config.json, safetensors and tokenizer files into `folder` and return it.

    dtype: of the stored weights. max_shard_size: e.g. "20KB" for several safetensors files with an index.
    adds_bos, has_bos: see `make_tokenizer`. settings: more keys of the HF config, e.g. hidden_act="gelu".
    """
    import torch
    import transformers

    folder = Path(folder)
    common = {
        "num_hidden_layers": n_layers,
        "hidden_size": d_model,
        "intermediate_size": d_mlp,
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "vocab_size": n_vocab,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    model_type, own = ARCHITECTURES[architecture]
    wanted = {**common, **own, **settings}
    if "text_config" in own:
        wanted = {**own, "text_config": {**common, **own["text_config"], **settings}}
    for part in (wanted, wanted.get("text_config", {})):
        if "layer_types" in part:
            part["layer_types"] = (part["layer_types"] * n_layers)[:n_layers]
    torch.manual_seed(seed)
    model = getattr(transformers, architecture)(transformers.AutoConfig.for_model(model_type, **wanted))
    _randomise(model, seed)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=max_shard_size)
    make_tokenizer(folder, n_vocab, adds_bos=adds_bos, has_bos=has_bos)
    return folder


def _randomise(model: Any, seed: int) -> None:
    """Random weights, gains and biases: matrices 1/sqrt(fan in), gains 0.5 to 1.5, biases and embeddings normal."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    around_zero = "Gemma" in type(model).__name__ or "Qwen3_5" in type(model).__name__  # norms multiply by (1 + weight)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.ndim == 1 and name.endswith("bias"):
                parameter.normal_(0.0, 0.3, generator=generator)
            elif parameter.ndim == 1:
                low = -0.5 if around_zero else 0.5
                parameter.uniform_(low, low + 1.0, generator=generator)
            elif "embed" in name:
                parameter.normal_(0.0, 1.0 / math.sqrt(parameter.shape[1]) if around_zero else 1.0, generator=generator)
            else:
                parameter.normal_(0.0, 1.0 / math.sqrt(parameter.shape[-1]), generator=generator)


def make_tokenizer(folder: str | Path, n_vocab: int = 320, *, adds_bos: bool = True, has_bos: bool = True) -> Path:
    """Write a byte-level BPE tokenizer (any text goes in and comes back) of at most `n_vocab` tokens.

    Ids 0, 1, 2 are `<s>`, `</s>`, `<pad>`. adds_bos: `<s>` is put before every text by default. has_bos: whether
    the tokenizer knows that `<s>` is its beginning-of-text token at all.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    assert n_vocab >= 259, "256 bytes and three special tokens"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TEXT], trainer)
    if has_bos and adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(f"{BOS} $A", f"{BOS} $A {BOS} $B", [(BOS, 0)])
    special = {"eos_token": EOS, "pad_token": PAD} | ({"bos_token": BOS} if has_bos else {})
    folder = Path(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder


def tokens_of(folder: str | Path) -> list[str]:
    """The tokenizer's tokens as stored, by id."""
    vocab: dict[str, int] = json.loads((Path(folder) / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    return sorted(vocab, key=vocab.__getitem__)

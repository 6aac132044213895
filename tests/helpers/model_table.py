"""The table of docs/models.md: what was tested, and the largest error found. `main` rewrites it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gluscope.model.describe import describe
from gluscope.model.load import load_model
from gluscope.model.spec import ModelSpec
from helpers import model_parity as parity
from helpers import tiny_models
from helpers.model_parity import Norms

DOC = Path(__file__).parents[2] / "docs" / "models.md"
START, END = "<!-- table: start -->", "<!-- table: end -->"
N_LAYERS = 3
_GEMMA_SANDWICH = Norms("rms1p", "pre_feedforward_layernorm", "post_feedforward_layernorm")
_POST = Norms(before=None, after="post_feedforward_layernorm")

# HF class -> norms around its MLP (of even and odd layers where they differ), example hub ids with 10^9 parameters
ROWS: dict[str, tuple[tuple[Norms, ...], tuple[tuple[str, float], ...]]] = {
    "OlmoForCausalLM": ((Norms("plain"),), (("allenai/OLMo-1B-hf", 1.2), ("allenai/OLMo-7B-0424-hf", 6.9))),
    "Olmo2ForCausalLM": ((_POST,), (("allenai/OLMo-2-0425-1B", 1.5), ("allenai/OLMo-2-1124-7B", 7.3))),
    "Olmo3ForCausalLM": ((_POST,), (("allenai/Olmo-3-1025-7B", 7.3), ("allenai/Olmo-3-1125-32B", 32))),
    "OlmoHybridForCausalLM": ((Norms(before="feedforward_layer_norm"), _POST), (("allenai/Olmo-Hybrid-7B", 7),)),
    "LlamaForCausalLM": ((Norms(),), (("HuggingFaceTB/SmolLM2-135M", 0.13), ("meta-llama/Llama-3.1-8B", 8.0))),
    "MistralForCausalLM": ((Norms(),), (("mistralai/Mistral-7B-v0.3", 7.2),)),
    "Ministral3ForCausalLM": ((Norms(),), (("mistralai/Ministral-3-3B-Reasoning-2512", 3),)),
    "Mistral3ForConditionalGeneration": ((Norms(),), (("mistralai/Mistral-Small-3.1-24B-Base-2503", 24),)),
    "Qwen2ForCausalLM": ((Norms(),), (("Qwen/Qwen2.5-0.5B", 0.5), ("Qwen/Qwen2.5-7B", 7.6))),
    "Qwen3ForCausalLM": ((Norms(),), (("Qwen/Qwen3-0.6B", 0.6), ("Qwen/Qwen3-8B", 8.2))),
    "Qwen3_5ForCausalLM": ((Norms("rms1p"),), ()),
    "Qwen3_5ForConditionalGeneration": (
        (Norms("rms1p"),),
        (("Qwen/Qwen3.5-0.8B-Base", 0.8), ("Qwen/Qwen3.5-9B-Base", 9)),
    ),
    "GemmaForCausalLM": ((Norms("rms1p"),), (("google/gemma-2b", 2.5), ("google/gemma-7b", 8.5))),
    "Gemma2ForCausalLM": ((_GEMMA_SANDWICH,), (("google/gemma-2-2b", 2.6), ("google/gemma-2-9b", 9.2))),
    "Gemma3ForCausalLM": ((_GEMMA_SANDWICH,), (("google/gemma-3-270m", 0.27), ("google/gemma-3-1b-pt", 1.0))),
    "Gemma3ForConditionalGeneration": (
        (_GEMMA_SANDWICH,),
        (("google/gemma-3-4b-pt", 4.3), ("google/gemma-3-27b-pt", 27)),
    ),
    "Gemma4ForCausalLM": ((Norms("rms", "pre_feedforward_layernorm", "post_feedforward_layernorm"),), ()),
    "VaultGemmaForCausalLM": ((Norms("rms1p", "pre_feedforward_layernorm"),), (("google/vaultgemma-1b", 1.0),)),
    "Phi3ForCausalLM": ((Norms(),), (("microsoft/Phi-3-mini-4k-instruct", 3.8), ("microsoft/phi-4", 14.7))),
    "GlmForCausalLM": ((Norms(),), (("zai-org/glm-4-9b-hf", 9.4),)),
    "Glm4ForCausalLM": ((Norms(after="post_mlp_layernorm"),), (("zai-org/GLM-4-9B-0414", 9.4),)),
    "GraniteForCausalLM": (
        (Norms(scale=0.5),),
        (("ibm-granite/granite-3.3-2b-base", 2.5), ("ibm-granite/granite-3.1-8b-base", 8.2)),
    ),
    "CohereForCausalLM": ((Norms("layer", "input_layernorm", parallel=True),), (("CohereLabs/aya-23-8B", 8.0),)),
    "Cohere2ForCausalLM": (
        (Norms("layer", "input_layernorm", parallel=True),),
        (("CohereLabs/c4ai-command-r7b-12-2024", 8.0),),
    ),
    "SmolLM3ForCausalLM": ((Norms(),), (("HuggingFaceTB/SmolLM3-3B-Base", 3.1),)),
    "StableLmForCausalLM": (
        (Norms("layer"),),
        (("stabilityai/stablelm-2-1_6b", 1.6), ("stabilityai/stablelm-3b-4e1t", 2.8)),
    ),
    "SeedOssForCausalLM": ((Norms(),), (("ByteDance-Seed/Seed-OSS-36B-Base", 36),)),
    "Ernie4_5ForCausalLM": ((Norms(),), (("baidu/ERNIE-4.5-0.3B-Base-PT", 0.36),)),
    "Exaone4ForCausalLM": ((_POST,), (("LGAI-EXAONE/EXAONE-4.0-1.2B", 1.3), ("LGAI-EXAONE/EXAONE-4.0-32B", 32))),
    "HunYuanDenseV1ForCausalLM": ((Norms(),), (("tencent/Hunyuan-7B-Pretrain", 7.5),)),
    "YoutuForCausalLM": ((Norms(),), (("tencent/Youtu-LLM-2B-Base", 2),)),
    "Lfm2ForCausalLM": ((Norms(before="ffn_norm"),), (("LiquidAI/LFM2-350M", 0.35), ("LiquidAI/LFM2-1.2B", 1.2))),
    "BambaForCausalLM": ((Norms(before="pre_ff_layernorm"),), (("ibm-ai-platform/Bamba-9B-v2", 9.8),)),
}
HEADER = (
    "| HF class | act | norm of the MLP | largest error | for example (10⁹ parameters; GB in bf16, float32) |",
    "|---|---|---|---|---|",
)


def tiny(architecture: str, folder: Path) -> ModelSpec:
    """Make the tiny model that stands for an architecture, and describe it."""
    return describe(str(tiny_models.make(architecture, folder / architecture, n_layers=N_LAYERS)))


def token_ids(rows: int = 2, width: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 300, (rows, width))


def largest_error(architecture: str, spec: ModelSpec) -> float:
    """Of x, gate, in, act and post over all layers, between `capture` in float32 and the float64 formula.

    Raises AssertionError if the formula does not give the MLP's own output, the norms are others than ROWS says, or
    folded weights behind a norm without gain do not give gate and in.
    """
    ids = token_ids()
    found, expected = parity.captured(load_model(spec, "cpu", "float32"), ids), parity.reference(spec, ids)
    assert len(found) == len(expected) == spec.n_layers
    norms = ROWS[architecture][0]
    for layer, kept in enumerate(expected):
        assert parity.error(kept["computed"], kept["written"]) < 1e-6
        assert parity.norm_error(spec, norms[layer % len(norms)], layer, kept) < 1e-6
        assert parity.folded_error(spec, norms[layer % len(norms)], layer, kept) < 1e-6
    return max(
        parity.error(f[name], e[name]) for f, e in zip(found, expected, strict=True) for name in parity.QUANTITIES
    )


def row(architecture: str, act_fn: str, found_error: float) -> str:
    norms, examples = ROWS[architecture]
    named = "; ".join(f"`{name}` ({size:g}; {_gigabytes(2 * size)}, {_gigabytes(4 * size)})" for name, size in examples)
    placed = " or ".join(str(each) for each in norms)
    return f"| `{architecture}` | {act_fn} | {placed} | {found_error:.0e} | {named} |"


def _gigabytes(size: float) -> str:
    return f"{size:.0f}" if size >= 10 else f"{size:.1f}"


def rows() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ROWS:
            spec = tiny(architecture, Path(folder))
            yield row(architecture, spec.act_fn, largest_error(architecture, spec))


def committed_rows() -> list[str]:
    """Rows of the table as docs/models.md has it."""
    table = DOC.read_text(encoding="utf-8").partition(START)[2].partition(END)[0].strip().splitlines()
    assert tuple(table[:2]) == HEADER
    return table[2:]


def main() -> None:
    text = DOC.read_text(encoding="utf-8")
    table = "\n".join((*HEADER, *rows()))
    DOC.write_text(text.partition(START)[0] + f"{START}\n{table}\n{END}" + text.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""What known models take: the table of sizes in docs/models.md. `main` rewrites it.

Parameters are counted in the transformers class, made without memory from the numbers of the model's config. The rest
is arithmetic: no time in the table was measured.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOC = Path(__file__).parents[2] / "docs" / "models.md"
START, END = "<!-- sizes: start -->", "<!-- sizes: end -->"
A100, SUSTAINED, TOKENS = 312e12, 0.4, 20e6  # bf16 operations a second; share of them that is reached; tokens of a scan
HEADER = (
    "| hub id | parameters, 10⁹ | GB in bf16 | layers x d_mlp | cache, GB per 10⁶ tokens | "
    "10⁹ operations a token | A100 hours for 2·10⁷ tokens |",
    "|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Known:
    """A model's config: layers, d_model, d_mlp, attention heads, key-value heads, vocabulary; what else differs from
    its class's defaults. tied: the unembedding is the embedding."""

    architecture: str
    n_layers: int
    d_model: int
    d_mlp: int
    heads: int
    kv_heads: int
    n_vocab: int
    tied: bool = False
    head_dim: int | None = None

    def parameters(self) -> tuple[int, int]:
        """All, and those outside the embedding and unembedding, which a scan's forward pass uses."""
        import torch
        import transformers
        from helpers.tiny_models import ARCHITECTURES
        from transformers.initialization import no_init_weights

        sizes: dict[str, Any] = {
            "num_hidden_layers": self.n_layers,
            "hidden_size": self.d_model,
            "intermediate_size": self.d_mlp,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "vocab_size": self.n_vocab,
            "tie_word_embeddings": self.tied,
            "pad_token_id": None,
        } | ({"head_dim": self.head_dim} if self.head_dim else {})
        config = transformers.AutoConfig.for_model(ARCHITECTURES[self.architecture][0], **sizes)
        with torch.device("meta"), no_init_weights():
            model = getattr(transformers, self.architecture)(config)
        model.tie_weights()
        everything = sum(parameter.numel() for parameter in model.parameters())
        return everything, everything - (1 if self.tied else 2) * self.n_vocab * self.d_model


MODELS = {
    "HuggingFaceTB/SmolLM2-135M": Known("LlamaForCausalLM", 30, 576, 1536, 9, 3, 49152, tied=True),
    "Qwen/Qwen2.5-0.5B": Known("Qwen2ForCausalLM", 24, 896, 4864, 14, 2, 151936, tied=True),
    "Qwen/Qwen3-0.6B": Known("Qwen3ForCausalLM", 28, 1024, 3072, 16, 8, 151936, tied=True, head_dim=128),
    "google/gemma-3-1b-pt": Known("Gemma3ForCausalLM", 26, 1152, 6912, 4, 1, 262144, tied=True, head_dim=256),
    "allenai/OLMo-1B-hf": Known("OlmoForCausalLM", 16, 2048, 8192, 16, 16, 50304, tied=True),
    "meta-llama/Llama-3.2-1B": Known("LlamaForCausalLM", 16, 2048, 8192, 32, 8, 128256, tied=True),
    "allenai/OLMo-2-0425-1B": Known("Olmo2ForCausalLM", 16, 2048, 8192, 16, 16, 100352),
    "google/gemma-2b": Known("GemmaForCausalLM", 18, 2048, 16384, 8, 1, 256000, tied=True, head_dim=256),
    "google/gemma-2-2b": Known("Gemma2ForCausalLM", 26, 2304, 9216, 8, 4, 256000, tied=True, head_dim=256),
    "microsoft/Phi-3-mini-4k-instruct": Known("Phi3ForCausalLM", 32, 3072, 8192, 32, 32, 32064),
    "allenai/OLMo-7B-0424-hf": Known("OlmoForCausalLM", 32, 4096, 11008, 32, 32, 50304),
    "mistralai/Mistral-7B-v0.3": Known("MistralForCausalLM", 32, 4096, 14336, 32, 8, 32768),
    "allenai/OLMo-2-1124-7B": Known("Olmo2ForCausalLM", 32, 4096, 11008, 32, 32, 100352),
    "Qwen/Qwen2.5-7B": Known("Qwen2ForCausalLM", 28, 3584, 18944, 28, 4, 152064),
    "meta-llama/Llama-3.1-8B": Known("LlamaForCausalLM", 32, 4096, 14336, 32, 8, 128256),
    "Qwen/Qwen3-8B": Known("Qwen3ForCausalLM", 36, 4096, 12288, 32, 8, 151936, head_dim=128),
    "google/gemma-2-9b": Known("Gemma2ForCausalLM", 42, 3584, 14336, 16, 8, 256000, tied=True, head_dim=256),
    "microsoft/phi-4": Known("Phi3ForCausalLM", 40, 5120, 17920, 40, 10, 100352),
}
# As the hub states them.
PUBLISHED = {
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "google/gemma-3-1b-pt": 999_885_952,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "google/gemma-2b": 2_506_172_416,
    "google/gemma-2-2b": 2_614_341_888,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "allenai/OLMo-7B-0424-hf": 6_888_095_744,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "google/gemma-2-9b": 9_241_705_984,
}


def row(name: str, known: Known) -> str:
    everything, used = known.parameters()
    cache = 1e6 * known.n_layers * known.d_model * 2 / 1e9
    hours = TOKENS * 2 * used / (A100 * SUSTAINED) / 3600
    cells = [f"{everything / 1e9:.3g}", f"{2 * everything / 1e9:.2g}", f"{known.n_layers} x {known.d_mlp:,}"]
    cells += [f"{cache:.0f}", f"{2 * used / 1e9:.2g}", f"{hours:.2g}"]
    return f"| `{name}` | {' | '.join(cells)} |"


def table() -> str:
    return "\n".join([*HEADER, *(row(name, known) for name, known in MODELS.items())])


def filled(text: str) -> str:
    """The page with the table anew."""
    assert text.count(START) == text.count(END) == 1
    return text.partition(START)[0] + f"{START}\n{table()}\n{END}" + text.partition(END)[2]


def main() -> None:
    DOC.write_text(filled(DOC.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

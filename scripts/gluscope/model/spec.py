"""What the program knows of a model without loading it. Imports no torch: pages read it too."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gluscope.core.errors import StoreError


@dataclass(frozen=True)
class ModelSpec:
    """A gated dense model, as `results/{run}/model.json` keeps it.

    model: folder or hub id, as the user wrote it.
    revision: hub commit, or for a folder `sha256:` and the sha256 of its config and weight files.
    folder: where config.json, the safetensors files and tokenizer.json lie.
    architecture: HF class, e.g. "OlmoForCausalLM".
    act_fn: the config's name of the activation, e.g. "silu", "gelu_pytorch_tanh".
    gate, in_, out, embed, unembed: names of weight tensors in the safetensors files, with `{layer}` where one a layer.
        `gate` and `in_` are the same tensor where the two are fused (Phi-3): gate rows first. `unembed` is `embed`
        where the embedding is tied.
    bias: gate and in have biases, of the names above with `.bias` for `.weight`.
    modules: names of the HF model's own modules: `layers` the list of blocks; `mlp` from a block; `gate`, `in`, `out`
        from the MLP (gate and in the same where they are fused), and `act` unless the model calls a plain function.
    dtype: of the stored gate weights, e.g. "float16".
    parameters: numbers in all weight files.
    versions: of the packages that described it. stages: by name, the version of the stage that did.
    """

    model: str
    revision: str
    folder: str
    architecture: str
    n_layers: int
    d_model: int
    d_mlp: int
    n_vocab: int
    act_fn: str
    gate: str
    in_: str
    out: str
    embed: str
    unembed: str
    bias: bool = False
    modules: dict[str, str] = field(default_factory=dict)
    dtype: str = "float32"
    parameters: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)

    @property
    def fused(self) -> bool:
        """Gate and in are two halves of one tensor."""
        return self.gate == self.in_

    def number_format(self, dtype: str) -> str:
        """The number format that a run's `dtype` stands for: `auto` is the checkpoint's own."""
        return self.dtype if dtype == "auto" else dtype

    @property
    def attributes(self) -> dict[str, str]:
        """What stored results say of the model they are of."""
        return {
            "model": self.model,
            "model_revision": self.revision,
            "architecture": self.architecture,
            "act_fn": self.act_fn,
        }

    def save(self, path: str | Path) -> None:
        """Write it as JSON; `path` never holds half of it."""
        part = Path(f"{path}.{os.getpid()}.part")
        part.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)

    @classmethod
    def read(cls, path: str | Path) -> ModelSpec:
        """Raises StoreError where the file is missing or describes no model."""
        step = "remove it and run the same command again to redo it"
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise StoreError(str(path), "a model's description", "no such file", step) from None
        except (ValueError, TypeError) as error:
            raise StoreError(str(path), "a model's description", type(error).__name__, step) from error

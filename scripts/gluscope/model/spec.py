"""What the program knows of a model without loading it. Imports no torch: pages read it too."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gluscope.core.size import Size
from gluscope.model.mixture import Mixture
from gluscope.store.sealed import read_sealed, sealed

KIND = "a model's description"

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Norm:
    """The norm through which an MLP reads the residual stream: x = unit(stream) * gain (+ a bias that is left apart).

    kind: "rms", "layer" (centred over d_model first), or "none": x is the stream itself; a norm behind the MLP is no
    part of it. gain: name of the stored tensor, float [d_model], None where the norm has none. offset: added to it
    (Gemma's norms multiply by 1 + w). module: the norm's name in the block; None for "none".
    """

    kind: str = "none"
    gain: str | None = None
    offset: float = 0.0
    module: str | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A model with gated MLPs, as `results/{run}/model.json` keeps it.

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
    norms: what stands between the residual stream and each layer's MLP, by layer; () is no norm anywhere.
    dtype: of the stored gate weights, e.g. "float16".
    parameters: numbers in all weight files.
    positions: tokens of the longest text that the config says the model is made for; 0 where it says none.
    mixture: its mixtures of experts, None for a dense model. `d_mlp` is then that of the layer with most neurons, and
        `gate`, `in_`, `out`, `modules` are those of its dense layers, empty where it has none.
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
    norms: tuple[Norm, ...] = ()
    dtype: str = "float32"
    parameters: int = 0
    positions: int = 0
    mixture: Mixture | None = None
    versions: dict[str, str] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        """The neurons of its layers."""
        if self.mixture is None:
            return Size.dense(self.n_layers, self.d_mlp)
        return Size(tuple(self.mixture.neurons(layer) for layer in range(self.n_layers)))

    def is_mixture(self, layer: int) -> bool:
        """Whether a layer is a mixture of experts."""
        return self.mixture is not None and layer in self.mixture.layers

    @property
    def fused(self) -> bool:
        """Gate and in are two halves of one tensor."""
        return self.gate == self.in_

    def number_format(self, dtype: str) -> str:
        """The number format that a run's `dtype` stands for: `auto` is the checkpoint's own."""
        return self.dtype if dtype == "auto" else dtype

    def norm(self, layer: int) -> Norm:
        """The norm before the MLP of a layer."""
        return self.norms[layer] if self.norms else Norm()

    def beyond(self, lengths: np.ndarray) -> str | None:
        """A line on texts that are longer than the model is made for; None if there are none. lengths: int64 [text]."""
        longer = int((lengths > self.positions).sum()) if self.positions else 0
        if not longer:
            return None
        return (
            f"{longer:,} of {len(lengths):,} texts, of up to {int(lengths.max()):,} tokens, are longer than "
            f"{self.positions:,}, which {self.model} is made for (max_position_embeddings): what it computes then may "
            f"be nonsense. `max_length: {self.positions}` in the data set cuts them."
        )

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
        values = asdict(self)
        if self.mixture is None:
            values.pop("mixture")
        part.write_text(sealed(KIND, values), encoding="utf-8")
        os.replace(part, path)

    @classmethod
    def read(cls, path: str | Path) -> ModelSpec:
        """Raises StoreError where the file is missing, damaged or describes no model."""

        def parse(raw: dict[str, Any]) -> ModelSpec:
            norms, mixture = tuple(Norm(**norm) for norm in raw["norms"]), raw.get("mixture")
            own: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in (mixture or {}).items()
            }
            return cls(**{**raw, "norms": norms, "mixture": Mixture(**own) if mixture else None})

        return read_sealed(path, KIND, parse)

"""Train the embedded demo's tokenizer and model on the demo's texts, from nothing, on a CPU.

`.venv/bin/python config/demo/train_demo.py --out config/demo/model` takes about half an hour on two cores. No rule
calls it: the model it made is kept in the repository.

The model is a plain OLMo (the first: rotary positions, layer norms without parameters, SwiGLU, no biases) with tied
embeddings. It is small enough to be kept in the repository and to be scanned in a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import OlmoConfig, OlmoForCausalLM, PreTrainedModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from gluscope.demo.text import iter_documents

BOS = "<|endoftext|>"


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides the result, besides the texts.

    steps, batch, window: optimiser steps that the learning rate is planned for, windows a step, tokens a window.
    stop: the step to end at, before the plan is through; the shipped model is the state of step 1500 of 2000.
    rate: peak learning rate, reached after `warmup` steps; falls to a twentieth of it on a cosine.
    bfloat16: matrix products in bfloat16 (twice as fast where the CPU has AVX-512 bf16, slow elsewhere).
    save_every: steps between two saved states.
    """

    n_vocab: int = 4096
    n_layers: int = 4
    d_model: int = 192
    d_mlp: int = 768
    n_heads: int = 6
    steps: int = 2000
    stop: int = 1500
    batch: int = 8
    window: int = 512
    rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.1
    seed: int = 17
    bfloat16: bool = True
    save_every: int = 250


def train(out: Path, settings: TrainSettings, say: Callable[[str], None] = print) -> float:
    """Train, write the model folder `out`, and return the held-out loss in nats a token.

    `out` gets config.json, model.safetensors (float16), the tokenizer's files and training.json (settings and
    losses). It is replaced whenever a state is saved, so that a usable model is there early.
    """
    torch.manual_seed(settings.seed)
    texts = [document.text for document in iter_documents()]
    learn = [text for text in texts if not is_held_out(text)]
    held_out = [text for text in texts if is_held_out(text)]
    tokenizer = train_tokenizer(learn, settings.n_vocab)
    learn_ids, held_out_ids = encode(tokenizer, learn), encode(tokenizer, held_out)
    model = new_model(settings)
    say(
        f"{len(learn)} texts of {sum(map(len, learn_ids))} tokens, held out {len(held_out)} of "
        f"{sum(map(len, held_out_ids))}; {sum(p.numel() for p in model.parameters())} parameters"
    )
    # What the training loss is measured on: as many texts as are held out, from all over the training set.
    probe_ids = learn_ids[:: max(1, len(learn_ids) // len(held_out_ids))]
    windows = training_windows(learn_ids, settings)
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=settings.weight_decay)
    last = min(settings.stop, settings.steps)
    started, held_out_loss = time.monotonic(), math.nan
    for step in range(1, last + 1):
        loss = _step(model, optimiser, next(windows), rate_at(step, settings), settings.bfloat16)
        seconds = time.monotonic() - started
        if step % 20 == 0 or step == last:
            speed = step * settings.batch * settings.window / seconds
            left = seconds / step * (last - step)
            say(f"step {step}: loss {loss:.3f}, {speed:.0f} tokens/s, {left / 60:.0f} min left")
        if step % settings.save_every == 0 or step == last:
            half = _as_saved(model)
            held_out_loss = mean_loss(half, held_out_ids, settings.window)
            report = {
                "train_loss": round(mean_loss(half, probe_ids, settings.window), 4),
                "held_out_loss": round(held_out_loss, 4),
                "step": step,
                "minutes": round(seconds / 60, 1),
                "train_tokens": sum(map(len, learn_ids)),
                "held_out_tokens": sum(map(len, held_out_ids)),
                "python": platform.python_version(),
                "settings": asdict(settings),
            }
            save(out, model, tokenizer, report)
            say(f"step {step}: saved, train {report['train_loss']}, held out {report['held_out_loss']} nats a token")
    return held_out_loss


def is_held_out(text: str) -> bool:
    """True for about one document in twenty, by a hash of its text: these the model is not trained on."""
    return hashlib.sha256(text.encode()).digest()[0] < 13


def train_tokenizer(texts: list[str], n_vocab: int) -> Tokenizer:
    """Byte-level BPE; digits stand alone; every encoded text starts with `<|endoftext|>` (id 0)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab, special_tokens=[BOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, with BOS."""
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def new_model(settings: TrainSettings) -> OlmoForCausalLM:
    """An untrained model of these dimensions."""
    return OlmoForCausalLM(
        OlmoConfig(
            vocab_size=settings.n_vocab,
            hidden_size=settings.d_model,
            intermediate_size=settings.d_mlp,
            num_hidden_layers=settings.n_layers,
            num_attention_heads=settings.n_heads,
            max_position_embeddings=2 * settings.window,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=None,
        )
    )


def pack(ids: list[list[int]], window: int) -> torch.Tensor:
    """All tokens in a row, cut to int64 [window count, window + 1]; neighbours share a token, the rest is dropped."""
    flat = torch.tensor([token for text in ids for token in text])
    return flat.unfold(0, window + 1, window)


def training_windows(ids: list[list[int]], settings: TrainSettings) -> Iterator[torch.Tensor]:
    """Batches int64 [batch, window + 1] without end; each pass over the texts packs them in another order."""
    random = torch.Generator().manual_seed(settings.seed)
    while True:
        order = torch.randperm(len(ids), generator=random).tolist()
        packed = pack([ids[row] for row in order], settings.window)
        packed = packed[torch.randperm(len(packed), generator=random)]
        yield from (batch for batch in packed.split(settings.batch) if len(batch) == settings.batch)


def rate_at(step: int, settings: TrainSettings) -> float:
    """Learning rate of a step, counted from 1."""
    if step <= settings.warmup:
        return settings.rate * step / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return settings.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def mean_loss(model: PreTrainedModel, ids: list[list[int]], window: int = 512) -> float:
    """Mean cross entropy over the tokens of packed texts, in nats a token (BOS is a token to predict too)."""
    total, count = 0.0, 0
    with torch.inference_mode():
        for batch in pack(ids, window).split(8):
            total += _cross_entropy(model, batch).item() * batch[:, 1:].numel()
            count += batch[:, 1:].numel()
    return total / count


def save(out: Path, model: OlmoForCausalLM, tokenizer: Tokenizer, report: dict) -> None:
    """Write the model folder beside `out`, then put it in `out`'s place."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part, old = out.with_name(f".{out.name}.{os.getpid()}.part"), out.with_name(f".{out.name}.{os.getpid()}.old")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _as_saved(model).half().save_pretrained(part)
    tokenizer.save(str(part / "tokenizer.json"))
    special = {"bos_token": BOS, "eos_token": BOS, "unk_token": BOS}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special,
        "model_max_length": model.config.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
    }
    _write_json(part / "tokenizer_config.json", settings)
    _write_json(part / "training.json", report)
    if out.exists():
        out.rename(old)
    part.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _step(
    model: OlmoForCausalLM, optimiser: torch.optim.Optimizer, batch: torch.Tensor, rate: float, bfloat16: bool
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        loss = _cross_entropy(model, batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    return loss.item()


def _cross_entropy(model: PreTrainedModel, batch: torch.Tensor) -> torch.Tensor:
    """Mean loss of predicting each next token of int64 [batch, window + 1]."""
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())


def _as_saved(model: OlmoForCausalLM) -> OlmoForCausalLM:
    """A float32 copy whose weights are rounded to float16, as they are on disk."""
    copy = OlmoForCausalLM(model.config)
    copy.load_state_dict({name: value.half().float() for name, value in model.state_dict().items()})
    copy.eval()
    return copy


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Read the arguments, train, print progress."""
    defaults = TrainSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model; replaced if it exists")
    parser.add_argument("--steps", type=int, default=defaults.steps, help=f"of the plan (default {defaults.steps})")
    parser.add_argument("--stop", type=int, default=defaults.stop, help=f"step to end at (default {defaults.stop})")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--float32", action="store_true", help="no bfloat16: for CPUs that are slow at it")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    settings = TrainSettings(steps=given.steps, stop=given.stop, bfloat16=not given.float32)
    train(given.out, settings, partial(print, flush=True))


if __name__ == "__main__":
    main()

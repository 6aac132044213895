"""A byte-level tokenizer of the tests' own."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def byte_level(texts: Sequence[str], special: Sequence[str], n_vocab: int, prefix_space: bool = False) -> Tokenizer:
    """BPE as GPT-2 and Qwen have it, trained on a few texts, without a special token around texts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator([*texts] * 3, trainer)
    return made

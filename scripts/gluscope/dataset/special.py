"""Which token ids a tokenizer says are none of a text's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKENIZER_JSON = "tokenizer.json"
PROBES = ("a", "the cat", "1")


@dataclass(frozen=True)
class SpecialTokens:
    """What a tokenizer says.

    bos: id of its beginning-of-sequence token, or else of the special token that it puts before every text; None where
    it has neither. ids: all that it calls special, ascending, as `skip_special_tokens` of transformers takes them.
    """

    bos: int | None
    ids: list[int]

    @classmethod
    def of_folder(cls, folder: str | Path) -> SpecialTokens:
        """Those of a folder's `tokenizer.json`. Raises whatever the libraries raise where there is none."""
        from transformers import PreTrainedTokenizerFast

        if not (Path(folder) / TOKENIZER_JSON).is_file():
            raise FileNotFoundError(TOKENIZER_JSON)
        return cls.of(PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True, trust_remote_code=False))

    @classmethod
    def of(cls, tokenizer: Any) -> SpecialTokens:
        """Those of one of transformers' fast tokenizers."""
        added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        ids = sorted({*map(int, tokenizer.all_special_ids), *added})
        bos = tokenizer.bos_token_id
        if bos is None:
            first = {tuple(tokenizer(probe)["input_ids"][:1]) for probe in PROBES}
            (bos,) = first.pop() if len(first) == 1 and first <= {(number,) for number in ids} else (None,)
        return cls(bos, ids)


def tokenizer_folder(tokens: str | Path, model_folder: str) -> Path:
    """Where the tokenizer of a run's texts lies. tokens: tokens.json of its data set.

    It lies beside the texts that were tokenised here; those that came as tokens without it have the model's own.
    """
    beside = Path(tokens).parent
    return beside if (beside / TOKENIZER_JSON).is_file() else Path(model_folder)

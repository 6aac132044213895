"""tokens.json, the last file that a token data set's folder gets: what it holds, how it was made, checksums."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import DatasetError, StoreError, WrongFile
from gluscope.dataset.special import SpecialTokens
from gluscope.store.blocks import SUFFIX
from gluscope.store.damage import to_redo
from gluscope.store.sealed import read_sealed, sealed

FORMAT = 2
TOKENS_JSON = "tokens.json"
KIND = "the record of a token data set"


@dataclass(frozen=True)
class TokenSettings:
    """How texts become examples. Names, meanings and defaults are those of the config's data set
    keys; without chat data the last two stay None."""

    text_column: str
    max_length: int
    long_texts: str
    max_tokens: int | None
    shuffle_seed: int | None
    bos: bool | None
    split: str
    messages_column: str | None = None
    template_kwargs: dict[str, Any] | None = None

    @property
    def column(self) -> str:
        """The source's column that texts are made of."""
        return self.text_column if self.messages_column is None else self.messages_column

    def as_sealed(self) -> dict[str, Any]:
        """What fingerprints are made of: without the keys of chat data in data sets that have none."""
        of_chats = () if self.messages_column is not None else ("messages_column", "template_kwargs")
        return {key: value for key, value in asdict(self).items() if key not in of_chats}

    @classmethod
    def of(cls, config: Any) -> TokenSettings:
        """Those of an object with the same attributes and more, such as the config's entry."""
        return cls(**{name: getattr(config, name) for name in cls.__dataclass_fields__ if hasattr(config, name)})


@dataclass(frozen=True)
class StoredFile:
    """A file of the folder: its name there, size in bytes and sha256."""

    name: str
    bytes: int
    sha256: str

    def check(self, folder: str | Path) -> None:
        """Read every byte. Raises StoreError, by which the folder is to be made anew, for a file that was altered."""
        path = Path(folder) / self.name
        if (found := file_sha256(path)) != self.sha256:
            expected, told = f"sha256 {self.sha256[:12]}...", f"{found[:12]}..., the file was altered"
            raise to_redo(StoreError, Path(folder), str(path), expected, told)


@dataclass(frozen=True)
class TokenRecord:
    """What tokens.json says.

    rows, tokens: examples and tokens stored, beginning-of-sequence tokens included. longest: tokens of the longest.
    max_id: the largest token id. fingerprint: see `seal`. text_column: None where the data hold no text; of chat data
    the column of messages, which holds what the template made of them.
    source, tokenizer: {id, revision}; revision is a hub commit, or for files `sha256:...` of them; tokenizer is None
    for data that came with `input_ids`. dropped_empty: source rows without a token. replaced_surrogates: lone
    surrogates, which no UTF-8 file can hold, that were replaced by U+FFFD. copies: rows that have the tokens of a lower
    row. read_files: names of the source's files that were read, None for a folder of `save_to_disk`; skipped_files: why
    others were not, by name. columns_as_text: columns of the source that are neither numbers nor strings, kept as text;
    columns_left_out: why one was not kept, by name. around: ids before and after every text. special: of
    the tokenizer, None for data that came with `input_ids` and without it. tokenizer_differs: what
    transformers' AutoTokenizer would have done otherwise. without_turns: conversations of whose messages
    none was found again in their text; writes_date: whether the template may write the day into texts; both None
    without chat data. stages: by name, the version of the stage that made it.
    """

    rows: int
    tokens: int
    longest: int
    max_id: int
    fingerprint: str
    settings: TokenSettings
    source: dict[str, str]
    tokenizer: dict[str, str] | None
    pretokenised: bool
    text_column: str | None
    dropped_empty: int = 0
    replaced_surrogates: int = 0
    copies: int = 0
    read_files: list[str] | None = None
    skipped_files: dict[str, str] = field(default_factory=dict)
    columns_as_text: list[str] = field(default_factory=list)
    columns_left_out: dict[str, str] = field(default_factory=dict)
    around: dict[str, list[int]] | None = None
    special: SpecialTokens | None = None
    tokenizer_differs: str | None = None
    without_turns: int | None = None
    writes_date: bool | None = None
    files: list[StoredFile] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def attributes(self) -> dict[str, Any]:
        """What stored results say of the data set they are of."""
        return {
            "dataset": self.source["id"],
            "dataset_revision": self.source["revision"],
            "dataset_fingerprint": self.fingerprint,
            "dataset_rows": self.rows,
            "dataset_tokens": self.tokens,
        }

    @property
    def remarks(self) -> list[str]:
        """What of the source is not in the data set as someone may expect it, a line each."""
        skipped, left_out = self.skipped_files, self.columns_left_out
        lines = [f"Files not read: {_some(skipped)}"] if skipped else []
        lines += [f"Columns left out: {_some(left_out)}"] if left_out else []
        lines += [f"Columns kept as text: {', '.join(self.columns_as_text)}"] if self.columns_as_text else []
        lines += [f"Rows without a token, left out: {self.dropped_empty}"] if self.dropped_empty else []
        lines += [f"Rows with the tokens of an earlier one: {self.copies}"] if self.copies else []
        lines += [f"Conversations without marked turns: {self.without_turns}"] if self.without_turns else []
        step = "date_string under `template_kwargs` keeps texts the same on other days"
        lines += [f"The chat template may write today's date: {step}"] if self.writes_date else []
        lines += [f"tokenizer.json was taken: {self.tokenizer_differs}"] if self.tokenizer_differs else []
        return lines

    def save(self, folder: str | Path) -> None:
        (Path(folder) / TOKENS_JSON).write_text(sealed(KIND, asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path) -> TokenRecord:
        """Raises StoreError where there is no tokens.json, or one that cannot be used."""
        path = Path(folder) / TOKENS_JSON
        record = read_sealed(path, KIND, cls._of, folder)
        if record.format != FORMAT:
            raise to_redo(WrongFile, Path(folder), str(path), f"format {FORMAT}", f"format {record.format}")
        return record

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> TokenRecord:
        settings, files = TokenSettings(**raw["settings"]), [StoredFile(**file) for file in raw["files"]]
        special = SpecialTokens(**raw["special"]) if raw.get("special") else None
        return cls(**{**raw, "settings": settings, "files": files, "special": special})

    def check_files(self, folder: str | Path) -> None:
        """Every file is there in full length, and the small ones are as they were written.

        Of the Arrow files readers compare what they read. Raises StoreError that names the first that is not so.
        """
        for file in self.files:
            path = Path(folder) / file.name
            size = path.stat().st_size if path.is_file() else None
            if size != file.bytes:
                found = "no such file" if size is None else f"{size} bytes"
                raise to_redo(StoreError, Path(folder), str(path), f"{file.bytes} bytes", found)
            if path.suffix not in (".arrow", SUFFIX):
                file.check(folder)

    def check_fits(self, spec: Any, where: str) -> None:
        """Every token id is one that the model (a ModelSpec) embeds. Raises DatasetError."""
        if self.max_id >= spec.n_vocab:
            raise DatasetError(
                where,
                f"token ids below {spec.n_vocab}, the vocabulary of {spec.model}",
                f"id {self.max_id}",
                "use the tokenizer that belongs to this model",
            )


def _some(reasons: dict[str, str], most: int = 5) -> str:
    parts = [f"{name} ({why})" for name, why in list(reasons.items())[:most]]
    return ", ".join(parts) + (f" and {len(reasons) - most} more, see tokens.json" if len(reasons) > most else "")


def verify(folder: str | Path) -> TokenRecord:
    """Read every byte of a token data set; return its record. Raises StoreError that names a damaged file."""
    record = TokenRecord.read(folder)
    record.check_files(folder)
    for file in record.files:
        file.check(folder)
    return record


def file_sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(tokens_digest: bytes, lengths: np.ndarray, settings: TokenSettings) -> str:
    """The fingerprint, in hex: sha256 over what a scan sees of a data set: settings, row lengths and all token ids.

    tokens_digest: sha256 of the token ids as int32, row after row. lengths: int64 [row].
    """
    whole = hashlib.sha256(json.dumps(settings.as_sealed(), sort_keys=True).encode())
    whole.update(np.ascontiguousarray(lengths, dtype="<i8").tobytes())
    whole.update(tokens_digest)
    return whole.hexdigest()

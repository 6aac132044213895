"""tokens.json, the last file that a token data set's folder gets: what it holds, how it was made, checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import DatasetError, StoreError

FORMAT = 1
TOKENS_JSON = "tokens.json"
REDO = "delete that folder and run the same command again to redo it"


@dataclass(frozen=True)
class TokenSettings:
    """How texts become examples. The names and meanings are those of the config's data set keys."""

    text_column: str = "text"
    max_length: int = 1024
    long_texts: str = "truncate"
    max_tokens: int | None = None
    shuffle_seed: int | None = None
    bos: bool | None = None
    split: str = "train"

    @classmethod
    def of(cls, config: Any) -> TokenSettings:
        """Those of an object with the same attributes and more, such as the config's entry."""
        return cls(**{name: getattr(config, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class StoredFile:
    """A file of the folder: its name there, size in bytes and sha256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TokenRecord:
    """What tokens.json says.

    rows, tokens: examples and tokens stored, beginning-of-sequence tokens included. longest: tokens of the longest.
    max_id: the largest token id. fingerprint: see `fingerprint`. text_column: None where the data hold no text.
    source, tokenizer: {id, revision}; revision is a hub commit, or for files `sha256:...` of them; tokenizer is None
    for data that came with `input_ids`. dropped_empty: source rows without a token. replaced_surrogates: lone
    surrogates, which no UTF-8 file can hold, that were replaced by U+FFFD. stages: by name, the version
    of the stage that made it.
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

    def save(self, folder: str | Path) -> None:
        (Path(folder) / TOKENS_JSON).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path) -> TokenRecord:
        """Raises StoreError where there is no tokens.json, or one that cannot be used."""
        path = Path(folder) / TOKENS_JSON
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            raw["settings"] = TokenSettings(**raw["settings"])
            raw["files"] = [StoredFile(**file) for file in raw["files"]]
            record = cls(**raw)
        except FileNotFoundError:
            raise StoreError(str(path), "the record of a finished token data set", "no such file", REDO) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(str(path), "the record of a token data set", f"{type(error).__name__}", REDO) from error
        if record.format != FORMAT:
            raise StoreError(str(path), f"format {FORMAT}", f"format {record.format}", REDO)
        return record

    def check_sizes(self, folder: str | Path) -> None:
        """Every file is there in full length. Raises StoreError that names the first that is not."""
        for file in self.files:
            path = Path(folder) / file.name
            size = path.stat().st_size if path.is_file() else None
            if size != file.bytes:
                found = "no such file" if size is None else f"{size} bytes"
                raise StoreError(str(path), f"{file.bytes} bytes", found, REDO)

    def check_fits(self, spec: Any, where: str = "token data set") -> None:
        """Every token id is one that the model (a ModelSpec) embeds. Raises DatasetError."""
        if self.max_id >= spec.n_vocab:
            raise DatasetError(
                where,
                f"token ids below {spec.n_vocab}, the vocabulary of {spec.model}",
                f"id {self.max_id}",
                "use the tokenizer that belongs to this model",
            )


def verify(folder: str | Path) -> TokenRecord:
    """Read every byte of a token data set; return its record. Raises StoreError that names a damaged file."""
    record = TokenRecord.read(folder)
    record.check_sizes(folder)
    for file in record.files:
        path = Path(folder) / file.name
        if (found := file_sha256(path)) != file.sha256:
            raise StoreError(str(path), f"sha256 {file.sha256[:12]}...", f"{found[:12]}..., the file was altered", REDO)
    return record


def file_sha256(path: str | Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(ids: Iterable[np.ndarray], lengths: np.ndarray, settings: TokenSettings) -> str:
    """sha256 over what a scan sees of a data set, in hex: settings, row lengths and all token ids.

    ids: the rows' token ids as int32, in order, in arrays cut anywhere. lengths: int64 [row].
    """
    tokens = hashlib.sha256()
    for part in ids:
        tokens.update(np.ascontiguousarray(part, dtype="<i4").tobytes())
    return seal(tokens.digest(), lengths, settings)


def seal(tokens_digest: bytes, lengths: np.ndarray, settings: TokenSettings) -> str:
    """The fingerprint, where the sha256 of the token ids is known already."""
    whole = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    whole.update(np.ascontiguousarray(lengths, dtype="<i8").tobytes())
    whole.update(tokens_digest)
    return whole.hexdigest()

"""Where the paths of a config lie: in the working directory, else beside the workflow; else they are hub ids."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from gluscope.core.errors import ConfigError
from gluscope.core.names import is_on_hub
from gluscope.core.paths import RESULTS, results

_MODEL = ("config.json", "*.safetensors", "*.safetensors.index.json")
_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "*.model")

_TEMPLATES = ("chat_template.jinja", "additional_chat_templates/*.jinja")


def locate(text: str, where: str, workflow: Path) -> str | None:
    """The file or folder that `text` names, or None if it is a hub id.

    Paths are relative to the working directory; what is not there is looked for in the folder `workflow`, so that
    shipped entries work from everywhere. A path under results/ need not exist yet. Raises ConfigError for what can
    be no hub id and does not exist.
    """
    path = os.path.normpath(os.path.expanduser(text))
    if path.startswith(f"{RESULTS}/"):
        return results() + path.removeprefix(RESULTS)
    if os.path.exists(path):
        return path
    beside = workflow / path
    if beside.exists():
        return str(beside)
    if is_on_hub(text):
        return None
    raise ConfigError(where, "a file or folder that exists, or a hub id", repr(text), f"look in {os.getcwd()}")


def model_files(folder: str) -> list[str]:
    """What a model is made of in a local folder."""
    return _matching(folder, _MODEL)


def tokenizer_files(folder: str, chat: bool = False) -> list[str]:
    """What a tokenizer is made of in a local folder; config.json, which some need, included. chat: its template too."""
    return _matching(folder, (*_TOKENIZER, "config.json", *(_TEMPLATES if chat else ())))


def stamp(files: list[str]) -> str:
    """Digest of names, sizes and dates (whole seconds) of the user's own files: that others took their place.

    Dates alone show only what is newer than the results, not an older copy that was moved there.
    """
    found = [(file, os.stat(file)) for file in files if not file.startswith(f"{results()}/") and os.path.exists(file)]
    text = "".join(f"{file} {stat.st_size} {int(stat.st_mtime)}\n" for file, stat in found)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _matching(folder: str, patterns: tuple[str, ...]) -> list[str]:
    return sorted({str(file) for pattern in patterns for file in Path(folder).glob(pattern) if file.is_file()})

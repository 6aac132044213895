"""Ids of models and data sets: which texts are hub ids, and what an id is called in all that is published."""

from __future__ import annotations

import os
import re
from pathlib import PurePath

# The hub's own rule: NAME or OWNER/NAME, each begins and ends with a letter, digit or `_`, without `--` and `..`.
_PART = r"(?![\w.-]*(?:--|\.\.))\w(?:[\w.-]{0,94}\w)?"
_HUB_ID = re.compile(rf"(?:{_PART}/)?{_PART}", re.ASCII)
_FILE = re.compile(r".*\.(jsonl?|ndjson|parquet|txt|arrow|csv|tsv|gz|bz2|xz|zst|pt|gguf)", re.I)
_SNAPSHOT = re.compile(r"(?:^|/)(?:models|datasets)--([^/]+)(?:/|$)")


def is_hub_id(text: str) -> bool:
    """Whether `text` can be the id of a model or data set on the hub; a path of the same look may exist all the same.

    >>> [is_hub_id(text) for text in ("gpt2", "allenai/OLMo-7B-0424-hf", "./model", "my-model/", "a/b/c")]
    [True, True, False, False, False]
    """
    return _HUB_ID.fullmatch(text) is not None and not text.endswith(".git")


def is_on_hub(text: str) -> bool:
    """Whether a source, tokenizer or model of a config is a hub id: it can be one, and is neither a path that exists
    here nor named as a file is."""
    return is_hub_id(text) and not _FILE.fullmatch(text) and not os.path.exists(text)


def is_local(revision: str) -> bool:
    """Whether a recorded revision is a digest of somebody's own files (`sha256:...`), and no commit of a hub."""
    return revision.startswith("sha256:")


def public_name(id_: str) -> str:
    """What a model or data set is called in pages, exports and cards, which must not tell of somebody's folders.

    A hub id is its own name, also where it was given as a snapshot in the hub's cache. Of a path within the working
    directory the last two parts are the name, of any other path the last one.

    >>> [public_name(text) for text in ("allenai/OLMo-1B-hf", "config/demo/model", "/home/jane/mine/", "../a/b.txt")]
    ['allenai/OLMo-1B-hf', 'demo/model', 'mine', 'b.txt']
    >>> public_name("/scratch/hub/models--allenai--OLMo-1B-hf/snapshots/0f3a")
    'allenai/OLMo-1B-hf'
    """
    if found := _SNAPSHOT.search(id_):
        return found[1].replace("--", "/", 1)
    path = PurePath(id_)
    outside = path.is_absolute() or id_.startswith("~") or ".." in path.parts
    parts = path.parts[-1:] if outside else path.parts[-2:]
    return "/".join(part for part in parts if part not in ("/", "..", "~")) or "unnamed"


def short_name(id_: str) -> str:
    """The last part of the public name: a hub id without its owner, a folder, or a file.

    >>> [short_name(text) for text in ("allenai/OLMo-1B-hf", "gpt2", "/home/jane/texts.jsonl")]
    ['OLMo-1B-hf', 'gpt2', 'texts.jsonl']
    """
    return public_name(id_).rpartition("/")[2]

"""Which tokens a run skips: they go through the model as all else does, and are in no case, count, list or sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from gluscope.core.errors import DatasetError
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.record import TOKENS_JSON
from gluscope.dataset.special import TOKENIZER_JSON, SpecialTokens, tokenizer_folder
from gluscope.model.spec import ModelSpec


def skipped_by(skip: Sequence[str | int], data: TokenDataset, spec: ModelSpec) -> list[int]:
    """Ids of the tokens that a run skips, ascending. skip: the config's `skip_tokens`.

    The data set's record says which tokens are special; of data that came as tokens, without a tokenizer, the model's
    own does. Raises DatasetError for what neither knows. A tokenizer without BOS has none to skip.
    """
    folder, special = tokenizer_folder(data.folder / TOKENS_JSON, spec.folder), data.record.special
    if special is None and not {"bos", "special"}.isdisjoint(skip):
        special = _of_model(spec)
    return skipped_ids(skip, special or SpecialTokens(None, []), folder, spec.n_vocab)


def _of_model(spec: ModelSpec) -> SpecialTokens:
    try:
        return SpecialTokens.of_folder(spec.folder)
    except Exception as error:  # the libraries raise many kinds
        step = "add `tokenizer` to the data set's entry, or set `skip_tokens: []`"
        expected = "a tokenizer that says which tokens are special"
        raise DatasetError("skip_tokens", expected, f"none with the data set or in {spec.folder}", step) from error


def skipped_ids(skip: Sequence[str | int], special: SpecialTokens, folder: Path, n_vocab: int) -> list[int]:
    """Those of `skip`. folder: where the tokenizer lies. n_vocab: ids that the model has. Errors: see `skipped_by`."""
    found: set[int] = set()
    names = [name for name in skip if isinstance(name, str) and name not in ("bos", "special")]
    known = _vocabulary(folder) if names else {}
    for name in skip:
        if name == "bos":
            found |= set() if special.bos is None else {special.bos}
        elif name == "special":
            found |= set(special.ids)
        elif isinstance(name, int) and 0 <= name < n_vocab:
            found.add(name)
        elif name in known:
            found.add(known[str(name)])
        else:
            expected = f"an id below {n_vocab}" if isinstance(name, int) else f"`bos`, `special` or a token of {folder}"
            step = "write a token as the tokenizer's vocabulary does, or its id"
            raise DatasetError("skip_tokens", expected, repr(name), step)
    return sorted(found)


def _vocabulary(folder: Path) -> dict[str, int]:
    """Ids by token, of a `tokenizer.json`."""
    path = folder / TOKENIZER_JSON
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        own = settings["model"]["vocab"]
        pairs = own.items() if isinstance(own, dict) else ((piece[0], i) for i, piece in enumerate(own))
        return {**dict(pairs), **{token["content"]: token["id"] for token in settings.get("added_tokens") or []}}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        step = "add `tokenizer` to the data set's entry, or write tokens as ids"
        raise DatasetError("skip_tokens", f"a tokenizer in {path}", type(error).__name__, step) from error

"""Where texts and tokenizers come from: local files, saved `datasets` folders, and a hub's cache."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gluscope.core.errors import DatasetError
from gluscope.core.hub import snapshot
from gluscope.core.names import is_on_hub
from gluscope.dataset.files import Found, digest, find_files, inside, is_saved, kind_of, name_in
from gluscope.dataset.raw import Surrogates
from gluscope.dataset.reader import IDS
from gluscope.dataset.record import TokenSettings
from gluscope.dataset.rows import rows_of
from gluscope.dataset.table import CopiedRows, SavedRows, Table
from gluscope.store.listing import check_listed, own_listing
from gluscope.store.sealed import read_sealed, sealed

KIND = "what was fetched"
_TOKENIZER_FILES = """
    tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json vocab.txt
    merges.txt tokenizer.model spiece.model sentencepiece.bpe.model chat_template.jinja config.json
"""
TOKENIZER_FILES = frozenset(_TOKENIZER_FILES.split())
# Nothing that could run is fetched, nor weights that lie beside data.
_NOT_DATA = ("*.py", "*.pkl", "*.pickle", "*.pt", "*.bin", "*.safetensors")


@dataclass(frozen=True)
class Located:
    """A source or tokenizer found on this machine.

    id: as the user wrote it. folder: the file or folder that holds it. revision: the hub's commit; None if local.
    """

    id: str
    folder: str
    revision: str | None = None


@dataclass(frozen=True)
class Sources:
    """What a data set is made from, as `results/datasets/NAME.source.json` keeps it."""

    source: Located
    tokenizer: Located | None

    def save(self, path: str | Path) -> None:
        Path(path).write_text(sealed(KIND, asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Sources:
        """Raises StoreError where the file is missing or damaged."""

        def located(raw: dict[str, Any]) -> Sources:
            found = {key: Located(**value) if value else None for key, value in raw.items()}
            return cls(**found)  # type: ignore[arg-type]

        return read_sealed(path, KIND, located)


def fetch(source: str, tokenizer: str | None, revision: str | None = None, leave_out: tuple[str, ...] = ()) -> Sources:
    """Find source and tokenizer; download what lies on a hub and is not in its cache yet (login node).

    revision: commit, tag or branch of the source. leave_out: patterns of its files that are not wanted. With
    HF_HUB_OFFLINE set nothing is downloaded.
    Raises DatasetError for what cannot be found.
    """
    return Sources(
        source=_locate(source, revision, "dataset", ignore_patterns=[*_NOT_DATA, *leave_out]),
        tokenizer=_locate(tokenizer, None, "model", allow_patterns=sorted(TOKENIZER_FILES)) if tokenizer else None,
    )


def _locate(name: str, revision: str | None, kind: str, **patterns: Any) -> Located:
    what = "data set" if kind == "dataset" else "tokenizer"
    if not is_on_hub(name):
        if not Path(name).exists():
            raise DatasetError(name, f"a {what}'s file or folder", "nothing of that name", "check the path")
        if revision is not None:
            raise DatasetError(name, "a hub id beside `revision`", "a local path", "leave `revision` out")
        return Located(name, name)
    folder = snapshot(name, what, DatasetError, revision, kind, **patterns)
    return Located(name, str(folder), folder.name)


def revision_of(located: Located, names: frozenset[str] | None = None) -> str:
    """The hub's commit, or `sha256:...` over the files (of a folder: only those of `names`, if given)."""
    if located.revision:
        return located.revision
    root = Path(located.folder)
    return digest(root, (path for path in inside(root) if names is None or path.name in names))


@dataclass
class Opened:
    """A source that can be read.

    table: its rows. revision: the hub's commit, or `sha256:...` over the files that are read. read: their names within
    the source; None for a folder of `save_to_disk`. skipped: why another file is not read, by its name.
    surrogates: how many lone ones were replaced.
    """

    table: Table
    revision: str
    read: list[str] | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    surrogates: int = 0


def open_source(located: Located, settings: TokenSettings, scratch: Path) -> Opened:
    """The source's rows with random access.

    scratch: a folder on the disk of the results, where files are turned into Arrow.
    Raises DatasetError for a missing split, no files, or files that cannot be read.
    """
    folder, column = Path(located.folder), settings.column
    if not folder.exists():
        raise DatasetError(located.id, "the files that were fetched", f"no {folder}", "run the same command again")
    if is_saved(folder):
        table = SavedRows(_saved(located, settings.split), column, located.id)
        return Opened(table, revision_of(located))
    splits = splits_of(folder, scratch, must=located.revision is not None)
    if splits is None:
        if settings.split != "train":
            found = f"{settings.split!r} for plain files"
            raise DatasetError(located.id, "no `split`", found, "leave `split` out and name the files you want")
        return _read(located, find_files(folder), settings, scratch)
    if settings.split not in splits:
        raise _no_split(located, settings.split, list(splits))
    files = splits[settings.split]
    chosen = Found(folder, kind_of(files[0]) or "", files, _others(folder, splits, settings.split))
    if {kind_of(path) for path in files} in ({"jsonl"}, {"csv"}, {"tsv"}, {"parquet"}):
        return _read(located, chosen, settings, scratch)
    loaded = _load(located, settings.split, scratch)
    return Opened(SavedRows(loaded, column, located.id), revision_of(located), chosen.names, chosen.skipped)


def _read(located: Located, found: Found, settings: TokenSettings, scratch: Path) -> Opened:
    """Files of the kinds that are read here."""
    # Of texts made by this workflow.
    check_listed(found.root.parent, whole=True, store=found.root, listing=own_listing(found.root))
    surrogates = Surrogates()
    table = CopiedRows(rows_of(found, (settings.column, IDS), surrogates), settings.column, scratch)
    revision = located.revision or digest(found.root, found.files)
    return Opened(table, revision, found.names, found.skipped, surrogates.replaced)


def _others(folder: Path, splits: dict[str, list[Path]], split: str) -> dict[str, str]:
    """Why the files beside a split's are not read."""
    of = {path: name for name, files in splits.items() for path in files}
    others = (path for path in inside(folder) if of.get(path) != split)
    return {name_in(folder, path): f"of the split {of[path]}" if path in of else "of no split" for path in others}


def splits_of(folder: Path, scratch: Path, must: bool) -> dict[str, list[Path]] | None:
    """The data files of each split of a hub's snapshot, as its card or its files' names say.

    must: False for a local folder, which is a copy of such a snapshot only if a card says so, or if the names of its
    files make a split `train` and others; None if it is none. No code of a repository is run.
    """
    if not must and (folder.is_file() or not _may_have_splits(folder)):
        return None
    import datasets

    try:
        builder = datasets.load_dataset_builder(str(folder), cache_dir=str(scratch / "splits"))
        found = {str(split): [Path(file) for file in files] for split, files in builder.config.data_files.items()}
    except Exception as error:  # whatever a folder makes the library raise
        if not must and not _has_card(folder):
            return None
        raise _unreadable(str(folder), error) from error
    return found if must or _has_card(folder) or ("train" in found and len(found) > 1) else None


def _has_card(folder: Path) -> bool:
    """Whether the folder has a data set card that names data files."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return text.startswith("---") and re.search(r"^configs:", text.split("\n---", 1)[0], re.M) is not None


def _may_have_splits(folder: Path) -> bool:
    kinds = {kind_of(path) for path in inside(folder)} - {None}
    return _has_card(folder) or (len(kinds) == 1 and kinds != {"txt"})


def _saved(located: Located, split: str) -> Any:
    import datasets

    try:
        saved = datasets.load_from_disk(located.folder)
    except Exception as error:  # whatever a damaged folder makes the library raise
        found = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(located.id, "a folder written by save_to_disk", found, "write or fetch it again") from error
    if isinstance(saved, datasets.DatasetDict):
        if split not in saved:
            raise _no_split(located, split, list(saved))
        return saved[split]
    # A data set on its own may carry the name of the split it once was.
    if split not in ("train", str(saved.split)):
        raise _no_split(located, split, [str(saved.split)] if saved.split else [])
    return saved


def _load(located: Located, split: str, scratch: Path) -> Any:
    """A split in a kind of files that `datasets` alone reads."""
    import datasets

    try:
        return datasets.load_dataset(located.folder, split=split, cache_dir=str(scratch / "loaded"))
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise _unreadable(located.id, error) from error


def _unreadable(where: str, error: Exception) -> DatasetError:
    found = " ".join(str(error.__cause__ or error).split())[:200] or type(error).__name__
    step = "see whether the files are whole; or give those that you want as a local folder"
    return DatasetError(where, "data files that `datasets` reads", found, step)


def _no_split(located: Located, split: str, splits: list[str]) -> DatasetError:
    names = ", ".join(splits) or "no split"
    return DatasetError(located.id, f"the split {split!r}", names, "set `split` to one that it has")

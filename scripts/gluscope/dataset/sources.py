"""Where texts and tokenizers come from: local files, saved `datasets` folders, and a hub's cache."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gluscope.core.errors import DatasetError
from gluscope.core.names import is_hub_id
from gluscope.dataset.files import Written, digest, kind_of, write_arrow
from gluscope.dataset.record import TokenSettings
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


def is_local(name: str) -> bool:
    """Whether a source or tokenizer is a path of this machine, existing or not; else it is a hub id."""
    return Path(name).exists() or not is_hub_id(name) or kind_of(Path(name)) is not None


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
    if is_local(name):
        if not Path(name).exists():
            raise DatasetError(name, f"a {what}'s file or folder", "nothing of that name", "check the path")
        if revision is not None:
            raise DatasetError(name, "a hub id beside `revision`", "a local path", "leave `revision` out")
        return Located(name, name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(name, repo_type=kind, revision=revision, **patterns)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        words = {
            "RepositoryNotFoundError": "no repository of that name that you may read",
            "RevisionNotFoundError": f"no revision {revision!r}",
            "GatedRepoError": "one that asks for your consent on its web page first",
            "LocalEntryNotFoundError": "the hub out of reach and nothing in its cache",
        }
        found = words.get(type(error).__name__, type(error).__name__)
        step = "check the id, the network and your rights there; or give a local path"
        raise DatasetError(name, f"a {what} on the hub or in its cache", found, step) from error
    return Located(name, folder, Path(folder).name)


def revision_of(located: Located, names: frozenset[str] | None = None) -> str:
    """The hub's commit, or `sha256:...` over the files (of a folder: only those of `names`, if given)."""
    return located.revision or digest(Path(located.folder), names)


def open_source(located: Located, settings: TokenSettings, scratch: Path) -> tuple[Any, Written]:
    """The source as `datasets.Dataset` with random access, and what had to be changed to read it.

    scratch: a folder on the disk of the results, where local files are turned into Arrow.
    Raises DatasetError for a missing split, no files, or files that cannot be read.
    """
    folder = Path(located.folder)
    if not folder.exists():
        raise DatasetError(located.id, "the files that were fetched", f"no {folder}", "run the same command again")
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return _saved(located, settings.split), Written()
    if located.revision is not None:
        return _from_hub(located, settings.split), Written()
    if settings.split != "train":
        found = f"{settings.split!r} for plain files"
        raise DatasetError(located.id, "no `split`", found, "leave `split` out and name the files you want")
    import datasets

    check_listed(folder.parent, whole=True, store=folder, listing=own_listing(folder))  # of texts made by this workflow
    arrow = scratch / "source.arrow"
    written = write_arrow(folder, arrow)
    return datasets.Dataset.from_file(str(arrow)), written


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


def _from_hub(located: Located, split: str) -> Any:
    """Data files of a hub's snapshot, split as its card says. No code of the repository is run."""
    import datasets

    try:
        splits = datasets.get_dataset_split_names(located.folder)
        if split not in splits:
            raise _no_split(located, split, splits)
        return datasets.load_dataset(located.folder, split=split)
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        found = " ".join(str(error.__cause__ or error).split())[:200]
        step = "see whether the files are whole; or give them as a local path"
        raise DatasetError(located.id, "data files that `datasets` reads", found, step) from error


def _no_split(located: Located, split: str, splits: list[str]) -> DatasetError:
    names = ", ".join(splits) or "no split"
    return DatasetError(located.id, f"the split {split!r}", names, "set `split` to one that it has")

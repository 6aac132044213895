"""Records and folders of results that are not as they were written, found before any job starts.

Records are small and many stages read them, so all are looked at. Of folders with a list of their files, only names and
sizes are: what is in them is compared by who reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gluscope.core.errors import StoreError
from gluscope.store.damage import Damaged
from gluscope.store.listing import check_listed, own_listing
from gluscope.store.sealed import unseal

_RECORDS = (
    "*/model.json",
    "*/plan.json",
    "*/activations.json",
    "*/sampled_activations.json",
    "datasets/*.source.json",
    "datasets/*/tokens.json",
)
_EXPORTS = ("hf", "gluscope-site", "neuronpedia", "explainers", "neurons.parquet")


def altered(results: Path, asked: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """What is to be made anew, and why. asked: targets; of exports, only those that they name are looked at."""
    for pattern in _RECORDS:
        for path in sorted(results.glob(pattern)):
            if why := _of_record(path):
                yield path.parent if path.name == "tokens.json" else path, why
    for index in sorted(results.glob("*/site/index.html")):
        if why := unlike_list(index):
            yield index, why
    for export in sorted(path for kind in _EXPORTS for path in results.glob(f"*/export/{kind}")):
        if any(Path(target).is_relative_to(export) for target in asked) and (why := unlike_list(export)):
            yield export, why


def unlike_list(store: Path) -> str:
    """Why a folder, a file beside its list, or a site's index.html is not what the list says; empty if it is."""
    if not store.exists():
        return ""
    try:
        if store.name == "index.html":
            check_listed(store.parent, store=store)
        elif store.suffix:
            check_listed(store.parent, store=store, listing=own_listing(store))
        else:
            check_listed(store)
    except StoreError as error:
        return f"{error.where}: expected {error.expected}, found {error.found}"
    return ""


def _of_record(path: Path) -> str:
    try:
        content = unseal(path.read_bytes())
    except Damaged as error:
        return f"{path}: expected {error}"
    except OSError:
        return ""
    if path.name == "tokens.json":
        for file in content.get("files", []):
            stored = path.parent / file["name"]
            if not stored.is_file() or stored.stat().st_size != file["bytes"]:
                return f"{stored}: expected {file['bytes']} bytes, found others, or no such file"
    return ""

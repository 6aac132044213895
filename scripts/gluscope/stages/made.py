"""Which versions of stages made a store: written into its attributes, compared by every job that reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gluscope.core.errors import OldVersion
from gluscope.stages.table import STAGES


def version_text(version: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """The text of versions/STAGE.json: what the files of a stage that are newer were made with."""
    return json.dumps({"stages": version, "settings": settings}) + "\n"


def refuse_old(files: Iterable[str]) -> None:
    """Raises OldVersion, which names store, stage and versions, where other versions of stages made a store.

    files: inputs of a job; those that are the zarr.json of a store are looked at. A store's attribute `stages` has the
    versions of what made it and of what that read. One that lacks it is from before there were versions.
    """
    old: dict[str, tuple[str, str]] = {}
    for file in files:
        if Path(file).name == "zarr.json" and (why := _differs(_attributes(file))):
            old[str(Path(file).parent)] = why
    if old:
        store, (expected, found) = next(iter(old.items()))
        more = f" (and {len(old) - 1} more of the like)" if len(old) > 1 else ""
        step = f"remove {store} and run the same command again: only it is made anew"
        error = OldVersion(store, expected, found + more, step)
        error.redo = tuple(old)
        raise error


def _attributes(file: str) -> Mapping[str, Any] | None:
    """Attributes of a store; None for a damaged one, which its reader refuses."""
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))["attributes"]
        return found if isinstance(found, Mapping) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _differs(attributes: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """What was expected and what was found, where these differ."""
    if attributes is None:
        return None
    made = attributes.get("stages")
    if not isinstance(made, Mapping):
        return "the versions of the stages that made it", "none"
    for name, found in made.items():
        number = str(found).split()[0]
        if name not in STAGES:
            return "the work of stages that there are", f"that of {name}"
        if number != str(STAGES[name].version):
            return in_words(name), f"version {number}"
    return None


def in_words(stage: str) -> str:
    """The version of a stage, with what it changed."""
    about = STAGES[stage]
    return f"version {about.version} of the stage {stage}" + (f" ({about.why})" if about.why else "")

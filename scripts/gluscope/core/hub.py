"""Repositories of the hub: what is had of one, and what is said where it cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gluscope.core.errors import GluscopeError, one_line


def snapshot(
    name: str, what: str, error: type[GluscopeError], revision: str | None = None, kind: str = "model", **patterns: Any
) -> Path:
    """Folder of a repository's snapshot in the hub's cache, downloaded if it is not there. Its name is the commit.

    revision: branch, tag or commit. kind: "model" or "dataset". patterns: `allow_patterns`, `ignore_patterns`. With
    HF_HUB_OFFLINE=1, as in jobs, nothing is downloaded. Raises `error`, for `what`, where it cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(name, repo_type=kind, revision=revision, **patterns))
    except (HfHubHTTPError, HFValidationError, OSError) as raised:
        at = f" at {revision}" if revision else ""
        known = {
            "RepositoryNotFoundError": "no repository of that name that you may read",
            "HFValidationError": "no repository of that name that you may read",
            "RevisionNotFoundError": f"no revision {revision!r}",
            "GatedRepoError": "one that asks for your consent on its web page first (then log in: hf auth login)",
            "LocalEntryNotFoundError": f"the hub out of reach and nothing in its cache{at}",
        }
        found = known.get(type(raised).__name__, one_line(raised)[:200])
        step = "check the id, the network (HF_HUB_OFFLINE) and your rights there; or give a local path"
        raise error(name, f"a {what} here, on the hub or in its cache", found, step) from raised

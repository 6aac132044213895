"""What a user types to have a page made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

SNAKEMAKE = "snakemake --cores 2"


def own_config(config: Mapping[str, Any]) -> str:
    """The option that names the user's config files, to stand behind the target; empty if there are none.

    config: the workflow's, where `configfiles` are those of the command line, relative to the working directory.
    """
    files = config.get("configfiles") or []
    return f" --configfile {shlex.join(files)}" if files else ""

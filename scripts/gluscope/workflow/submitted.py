"""The config as it was when a start read it, for jobs that begin hours later.

Snakemake has each SLURM job read the config files again, and records what the job makes under the settings of the
start. A file that was edited meanwhile would give one thing and a record of another. So a start writes down the whole
config, and its jobs read that.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Mapping, MutableMapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

FOLDER = "gluscope-submitted"
_KEY, _FILES = "as_submitted", "as_submitted_from"
_DAYS = 60  # after which a config that no start has used again is dropped; no job waits that long


def write_submitted(config: Mapping[str, Any], own: Sequence[str], state: Path) -> Path:
    """Write the whole config into `state` (`.snakemake/`); returns the config file that jobs are to be given.

    own: the user's config files, which pages name.
    """
    text = json.dumps({_KEY: config, _FILES: list(own)}, default=str)
    file = state / FOLDER / f"{sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.write_text(text, encoding="ascii")
    temporary.replace(file)
    for old in file.parent.iterdir():
        if time.time() - old.stat().st_mtime > _DAYS * 86400:
            old.unlink(missing_ok=True)
    return file.absolute()


def take_submitted(config: MutableMapping[str, Any]) -> list[str] | None:
    """In a job: make `config` what it was when the job was submitted; returns the user's config files of that time.

    Elsewhere nothing changes, and it returns None.
    """
    if _KEY not in config:
        return None
    whole, own = dict(config[_KEY]), list(config[_FILES])
    config.clear()
    config.update(whole)
    return own


def own_config(files: Sequence[str]) -> str:
    """The option that names the user's config files, to stand behind a target; empty if there are none."""
    return f" --configfile {shlex.join(files)}" if files else ""

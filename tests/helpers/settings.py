"""Settings of stages with the config's defaults, which stand in `config/keys.py` alone."""

from __future__ import annotations

from typing import Any

from gluscope.config.keys import DatasetConfig, RunConfig, Section
from gluscope.core.cost import Work
from gluscope.dataset.record import TokenSettings
from gluscope.scan.loop import ScanSettings


def token_settings(**changes: Any) -> TokenSettings:
    return TokenSettings(**{**_defaults(DatasetConfig, TokenSettings), **changes})


def scan_settings(**changes: Any) -> ScanSettings:
    """Nothing is skipped unless a test says so."""
    return ScanSettings(**{**_defaults(RunConfig, ScanSettings), "skip_tokens": [], **changes})


def work(**changes: Any) -> Work:
    nothing = {"replay": 0, "replay_shards": 0, "listed": 0, "text": 1024, "cache": False, "format": "float32"}
    return Work(**{**_defaults(RunConfig, Work), **nothing, **changes})


def _defaults(section: type[Section], settings: Any) -> dict[str, Any]:
    fields = section.known()
    return {name: fields[name].default for name in settings.__dataclass_fields__ if name in fields}

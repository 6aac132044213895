"""The published neuron L5/N10602 of OLMo-7B-0424. Needs ../shared/data."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).parents[2].parent / "shared/data/olmo-7b-0424-L5-N10602.tar.xz"


def unpacked(target: Path) -> Path:
    """The folder of its `vis.html`, below `target`; skips the test where the archive is not at hand."""
    if not ARCHIVE.exists():
        if os.environ.get("CI") == "true" and ARCHIVE.parent.exists():
            pytest.fail(f"{ARCHIVE} is missing")
        pytest.skip("needs the published neuron in ../shared/data, which is not part of this repository")
    with tarfile.open(ARCHIVE) as archive:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not in Python 3.11.2
        archive.extractall(target, **safe)
    return next(target.rglob("vis.html")).parent

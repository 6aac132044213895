"""With what a result was made."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import gluscope


def versions(*packages: str) -> dict[str, str]:
    """Versions of this workflow, Python, and those of the packages that are installed."""
    found = {"gluscope": gluscope.__version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

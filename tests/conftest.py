"""For all tests: the order in which they run."""

from __future__ import annotations

from pathlib import Path

import pytest

LONG_FIRST = ("docs", "slurm", "workflow", "benchmark", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders with long tests first, so that no worker is left with one at the end.

    A file's tests run on one worker, in order (`--dist loadfile`): many share what one of them makes.
    """
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0]
        return LONG_FIRST.index(folder) if folder in LONG_FIRST else len(LONG_FIRST)

    items.sort(key=rank)

"""For all tests: the order in which they run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything loads OpenMP. Several tests share this machine's cores, and threads that spin while they wait for each
# other would take them from the rest: 3,000 small products on two busy cores took 2 to 7 s so, 100 to 170 s otherwise.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

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

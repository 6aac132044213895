"""How many processor cores this job may use."""

from __future__ import annotations

import os

GIVEN = "GLUSCOPE_CORES"


def usable_cores() -> int:
    """What the job was given, where this variable says so, and no more than the system lets this process use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get(GIVEN, "")
    return max(1, min(allowed, int(given)) if given.isdigit() else allowed)

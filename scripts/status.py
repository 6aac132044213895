"""How far runs are: `python scripts/status.py [RUN ...]`, all runs in `results/` if none is named.

Reads files and asks squeue, so that it can be called at any time, also while Snakemake runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gluscope.core.paths import RESERVED_RUN_NAMES, RESULTS
from gluscope.workflow.queue import jobs_in_queue
from gluscope.workflow.status import as_text, run_status


def main() -> None:
    """Read the arguments, print the status of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN")
    runs = parser.parse_args().runs or started()
    queue = jobs_in_queue()
    if unknown := [run for run in runs if not (Path(RESULTS) / run).is_dir()]:
        step = f"name one of: {', '.join(started())}" if started() else "start one with snakemake"
        parser.exit(1, f"error: {RESULTS}/{unknown[0]}: expected a run that was started, found none. Next: {step}.\n")
    print("\n".join(as_text(run_status(run, queue)) for run in runs) or "no run was started in this folder")


def started() -> list[str]:
    """Runs that have a folder in the results."""
    folders = sorted(path.name for path in Path(RESULTS).glob("*") if path.is_dir())
    return [name for name in folders if name not in RESERVED_RUN_NAMES]


if __name__ == "__main__":
    main()

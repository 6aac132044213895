"""The same snakemake, which asks SLURM for news several times a second, however long nothing has changed.

The executor waits longer after each question that brought nothing, up to three minutes. That suits a cluster; tests
would spend nearly all their time in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

_PROGRAM = """\
import sys
from snakemake_executor_plugin_slurm import Executor
Executor.next_seconds_between_status_checks = property(lambda self: {seconds}, lambda self, value: None)
from snakemake.cli import main
sys.exit(main())
"""


def quick_snakemake(folder: Path, seconds: float = 0.5) -> str:
    """Write a program `snakemake` to `folder`; returns its path. Jobs run the ordinary one."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "snakemake"
    program.write_text(f"#!{sys.executable}\n" + _PROGRAM.format(seconds=seconds), encoding="utf-8")
    program.chmod(0o755)
    return str(program)

"""The commands of docs/cluster.md, on the test cluster."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from helpers.checkout import PATIENCE, REPO, copy_checkout, small_demo
from helpers.cluster import Cluster, login_environment
from helpers.quick import quick_snakemake

_BLOCK = re.compile(r"^```sh cluster\n(.*?)^```$", re.M | re.S)


def test_commands_run_on_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    folder = copy_checkout(tmp_path / "gluscope")
    small_demo(folder)
    # The same snakemake, which only asks SLURM for news more often than on a real cluster.
    quick = tmp_path / "bin/snakemake"
    quick.parent.mkdir()
    quick.write_text(f'#!/bin/sh\nexec {quick_snakemake(tmp_path / "quick")} "$@" --max-status-checks-per-second 10\n')
    quick.chmod(0o755)
    script = "\n".join(_BLOCK.findall((REPO / "docs/cluster.md").read_text(encoding="utf-8")))
    assert "--profile slurm" in script
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=folder, env=login_environment(cluster, str(quick.parent)),
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert (folder / "results/demo/site/L1/N383.html").exists()

"""Snakemake is killed while its jobs run, and started again: they are waited for, and none runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

from helpers.cluster import Cluster, login_environment
from slurm.test_pipeline import PAGE, command, submitted, typed


def test_killed_and_started_again(cluster: Cluster, checkout: Path) -> None:
    with open(checkout / "first.log", "w") as log:
        first = subprocess.Popen(
            command(PAGE), cwd=checkout, env=login_environment(cluster), stdout=log, stderr=log, start_new_session=True
        )
    try:
        cluster.wait_for(lambda: len(scans(cluster, checkout, "RUNNING")) == 4, 240, "four scans to run")
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert any((checkout / ".snakemake/locks").iterdir()), "a killed Snakemake leaves its lock"

    again = typed(cluster, checkout, PAGE)
    assert again.returncode == 0, again.stderr[-4000:]
    assert "Waiting for" in again.stderr
    assert (checkout / PAGE).exists()
    shards = Counter(job["Comment"] for job in scans(cluster, checkout))
    assert len(shards) == 4
    assert set(shards.values()) == {1}, "a shard was submitted twice"


def scans(cluster: Cluster, checkout: Path, state: str = "") -> list[dict[str, str]]:
    """Scan jobs of a checkout, as SLURM knows them; only those in `state` if one is given."""
    jobs = [job for job in submitted(cluster, checkout) if job.get("Comment", "").startswith("rule_scan")]
    return [job for job in jobs if not state or job["JobState"] == state]

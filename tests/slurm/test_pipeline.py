"""The workflow through `--profile slurm`, on a real SLURM."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from helpers.checkout import PATIENCE
from helpers.cluster import Cluster, login_environment
from helpers.quick import quick_snakemake

PAGE = "results/tiny/site/L1/N7.html"
# The profile waits as suits a real cluster; here every second counts.
QUICK = ["--max-status-checks-per-second", "10", "--configfile", "mine.yaml"]


@functools.cache
def _program() -> str:
    folder = Path(tempfile.mkdtemp(prefix="quick-snakemake-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return quick_snakemake(folder)


def command(*arguments: str) -> list[str]:
    """`snakemake --profile slurm ...` as a user types it."""
    return [_program(), "--profile", "slurm", *arguments, *QUICK]


def typed(cluster: Cluster, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `command(*arguments)` on the login node."""
    return subprocess.run(
        command(*arguments),
        cwd=folder, env=login_environment(cluster), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def submitted(cluster: Cluster, folder: Path) -> list[dict[str, str]]:
    """What SLURM knows of the jobs that were submitted from `folder`."""
    jobs = cluster.run("scontrol", "-o", "show", "job").splitlines()
    fields = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in jobs]
    return [job for job in fields if job.get("WorkDir") == str(folder)]


def test_a_page_as_typed_and_typed_again_after_snakemake_was_killed(cluster: Cluster, checkout: Path) -> None:
    """The jobs of the killed one go on, are waited for, and none runs twice."""
    with open(checkout / "first.log", "w") as log:
        first = subprocess.Popen(
            command(PAGE), cwd=checkout, env=login_environment(cluster), stdout=log, stderr=log, start_new_session=True
        )
    try:
        cluster.wait_for(lambda: len(scans(cluster, checkout, "RUNNING")) == 4, PATIENCE, "four scans to run")
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert any((checkout / ".snakemake/locks").iterdir()), "a killed Snakemake leaves its lock"

    done = typed(cluster, checkout, PAGE)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Waiting for" in done.stderr
    assert (checkout / PAGE).stat().st_size > 10_000

    jobs = submitted(cluster, checkout)
    on_gpu = [job for job in jobs if "gres:gpu:a100:1" in job.get("TresPerNode", "")]
    assert len(on_gpu) == 4, "one A100 for each of the four shards"
    assert len({job["Comment"] for job in scans(cluster, checkout)}) == 4
    rules = Counter(job["Comment"].removeprefix("rule_").partition("_wildcards_")[0] for job in jobs)
    assert rules == {"tokenise": 1, "weights": 1, "scan": 4, "merge": 1}, "what is small runs on the login node"
    for shard in range(4):
        logs = list((checkout / "logs/slurm/rule_scan").glob(f"*{shard:04d}*/*.log"))
        assert logs, f"no log of shard {shard}"
        assert "srun" not in logs[0].read_text(encoding="utf-8"), "a job is one step, sbatch's own"

    again = typed(cluster, checkout, PAGE)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr
    assert len(submitted(cluster, checkout)) == len(jobs)


def scans(cluster: Cluster, checkout: Path, state: str = "") -> list[dict[str, str]]:
    """Scan jobs of a checkout, as SLURM knows them; only those in `state` if one is given."""
    jobs = [job for job in submitted(cluster, checkout) if job.get("Comment", "").startswith("rule_scan")]
    return [job for job in jobs if not state or job["JobState"] == state]

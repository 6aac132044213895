"""Model and texts come from the hub on the login node; compute nodes have no network at all."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from helpers.checkout import PATIENCE, copy_checkout
from helpers.cluster import Cluster, login_environment, without_network
from helpers.fake_hub import FakeHub
from helpers.quick import quick_snakemake
from helpers.tiny_models import make
from slurm.conftest import WORDS
from slurm.test_pipeline import QUICK, submitted

CONFIG = """\
datasets:
  hub-texts: {source: user/texts, tokenizer: user/model, max_length: 32}
runs:
  far: {model: user/model, dataset: hub-texts, neurons: [L0/N3], k: 2, shards: 1, samples: 16}
"""
# As docs/cluster.md says for a cluster whose A100s are asked for in another way.
ELSEWHERE = ["scan:gres=gpu:a100:1", "scan:slurm_partition=gpu", "scan:constraint=80gb"]


def test_hub_ids_are_fetched_on_the_login_node_alone(cluster: Cluster, tmp_path: Path) -> None:
    model = make("OlmoForCausalLM", tmp_path / "model")
    rng = random.Random(1)
    lines = "".join(json.dumps({"text": " ".join(rng.choices(WORDS, k=9))}) + "\n" for _ in range(12))
    files = {path.name: path.read_bytes() for path in Path(model or tmp_path / "model").iterdir() if path.is_file()}
    folder = copy_checkout(tmp_path / "gluscope")
    (folder / "mine.yaml").write_text(CONFIG, encoding="utf-8")
    offline = without_network(tmp_path / "offline")
    program = quick_snakemake(tmp_path / "bin")
    page = "results/far/site/L0/N3.html"
    hub_files = {("dataset", "user/texts"): {"train.jsonl": lines.encode()}, ("model", "user/model"): files}
    with FakeHub(hub_files) as hub:
        to_hub = hub.environment(tmp_path / "hub")
        environment = login_environment(cluster, str(offline), str(tmp_path / "bin")) | to_hub
        environment.pop("HF_HUB_OFFLINE")
        done = subprocess.run(
            [program, "--profile", "slurm", page, *QUICK, "--set-resources", *ELSEWHERE],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        # Such a job reaches nobody, not even this hub; an ordinary one of this cluster does.
        ask = f"import urllib.request as r; r.urlopen('{to_hub['HF_ENDPOINT']}/api/models/user/model/revision/main')"
        for sbatch, reached in ((str(offline / "sbatch"), False), ("sbatch", True)):
            wrapped = f'--wrap={sys.executable} -c "{ask}"'
            job = [sbatch, "--wait", "--partition=cpu", "--output=/dev/null", wrapped]
            asked = subprocess.run(job, env=cluster.environment, capture_output=True, timeout=PATIENCE, check=False)
            assert (asked.returncode == 0) == reached, asked.stderr
    assert (folder / page).exists()
    (job,) = [job for job in submitted(cluster, folder) if "gpu" in job.get("TresPerNode", "")]
    assert (job["Partition"], job["Features"]) == ("gpu", "80gb")
    assert {"model.safetensors", "train.jsonl"} <= set(hub.served)

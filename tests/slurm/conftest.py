"""One SLURM cluster for all tests here, and a copy of the repository with a tiny model and some texts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.checkout import copy_checkout
from helpers.cluster import Cluster, missing_programs
from helpers.tiny_models import make

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "two", "dogs", "run", "past", "green", "hills"]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster: nodes n1 and n2 with two A100s each, n3 without."""
    gone = missing_programs()
    if gone and os.environ.get("CI") != "true":
        pytest.skip(f"needs SLURM as root; missing here: {', '.join(gone)}")
    with Cluster(tmp_path_factory.mktemp("slurm"), cpus=16, memory_mb=400_000) as running:
        yield running


def texts(path: Path, count: int = 60, seed: int = 1) -> None:
    """Write `count` short texts, the same for the same seed."""
    import random

    rng = random.Random(seed)
    lines = (json.dumps({"text": " ".join(rng.choices(WORDS, k=rng.randint(3, 40)))}) for _ in range(count))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh checkout with `mine.yaml`: a run `tiny` of 4 shards on a tiny OLMo."""
    folder = copy_checkout(tmp_path / "gluscope")
    make("OlmoForCausalLM", folder / "my-model")
    texts(folder / "texts.jsonl")
    (folder / "mine.yaml").write_text(
        "datasets:\n"
        "  mine-texts: {source: texts.jsonl, tokenizer: my-model, max_length: 64}\n"
        "runs:\n"
        "  tiny: {model: my-model, dataset: mine-texts, neurons: [L0/N3, L1/N7], k: 4, shards: 4, samples: 64}\n",
        encoding="utf-8",
    )
    return folder

"""A user's folder with a tiny model, texts and a config of their own, and Snakemake run in it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from helpers.checkout import REPO, snakemake, user_environment
from helpers.forked import forked_snakemake

CONFIG: dict[str, Any] = {
    "datasets": {"mine-texts": {"source": "texts.jsonl", "tokenizer": "my-model/"}},
    "runs": {"mine": {"model": "my-model/", "dataset": "mine-texts", "neurons": ["L0/N3", "L1/N7"]}},
    "all": ["mine"],
}
TEXTS = [
    "the cat sat on the mat and the dog sat by the door .",
    "a neuron reads a token and writes a token .",
    "one two three four five six seven eight nine ten .",
    "Paris is the capital of France and Rome of Italy .",
    "if x is 1 then y is 2 ; for i in range ( 10 ) : print ( i ) return None .",
    "<script>alert('no')</script> & \u202ethgir ot tfel",
    "x",
]


@dataclass
class Room:
    """`folder`: where the user stands. `repo`: the checkout whose Snakefile is used."""

    folder: Path
    repo: Path = REPO
    forked: bool = True  # whether Snakemake comes from a process that has imported it

    def write_config(self, **run: Any) -> None:
        """mine.yaml: CONFIG with keys of the run changed."""
        config = {**CONFIG, "runs": {"mine": {**CONFIG["runs"]["mine"], **run}}}
        (self.folder / "mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def write_texts(self, texts: list[str] = TEXTS) -> None:
        rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (self.folder / "texts.jsonl").write_text(rows, encoding="utf-8")

    def fake_model(self, n_layers: int = 2, d_mlp: int = 48) -> None:
        """What a model's folder looks like to a dry run."""
        model = self.folder / "my-model"
        model.mkdir(exist_ok=True)
        sizes = {"num_hidden_layers": n_layers, "intermediate_size": d_mlp}
        (model / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
        for name in ("model.safetensors", "tokenizer.json"):
            (model / name).write_bytes(b"")

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`snakemake ARGUMENTS` as the user types it here, with mine.yaml if it is there."""
        mine = ["--configfile=mine.yaml"] if (self.folder / "mine.yaml").exists() else []
        where = ["--snakefile", str(self.repo / "Snakefile")] if self.repo != self.folder else []
        typed = [*where, "--cores", "2", *mine, *arguments]
        return (
            forked_snakemake(self.folder, typed, user_environment()) if self.forked else snakemake(self.folder, *typed)
        )

    def plan(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a dry run would start."""
        done = self.snakemake("--dry-run", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout + done.stderr
        if "Nothing to be done" in said:
            return {}
        table = said.rpartition("Job stats:")[2].split("\n\n")[0]
        found = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
        assert found.pop("total") == sum(found.values())
        return found

    def refusal(self, *arguments: str) -> list[str]:
        """The lines with which Snakemake refuses, before any job."""
        done = self.snakemake(*arguments)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr + done.stdout
        assert "Exception" not in done.stderr + done.stdout
        assert not (self.folder / "results").exists()
        tail = re.sub(r".*(Building DAG of jobs\.\.\.|command line arguments\.)\n", "", done.stderr, flags=re.S)
        tail = "\n".join(line for line in tail.splitlines() if not line.startswith("Config file "))
        return tail.strip().splitlines()

"""Runs and data sets by name, and the shards of a run."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gluscope.config.check import nearest
from gluscope.config.keys import DatasetConfig, RunConfig
from gluscope.config.load import load_config, unknown_run
from gluscope.core.errors import ConfigError, ShardMismatch, StoreError
from gluscope.core.paths import RESULTS, DatasetPaths, RunPaths, results_in, shard_name
from gluscope.dataset.plan import Plan


class Runs:
    """The config. folder: where the Snakefile lies. results: where results do."""

    def __init__(self, raw: Mapping[str, Any], folder: Path, results: str = RESULTS) -> None:
        with results_in(results):
            self.config = load_config(raw)
        self.folder, self.results = folder, results

    def run(self, name: str) -> RunConfig:
        """Raises ConfigError for a run that the config does not have."""
        if name not in self.config.runs:
            raise unknown_run(name, self.config, RunPaths(name).root)
        return self.config.runs[name]

    def dataset(self, name: str) -> DatasetConfig:
        """Raises ConfigError for a data set that the config does not have."""
        if name not in self.config.datasets:
            step = nearest(name, self.config.datasets)
            raise ConfigError(DatasetPaths(name).folder, "the name of a data set", repr(name), step)
        return self.config.datasets[name]

    def dataset_of(self, run: str) -> DatasetConfig:
        return self.config.datasets[self.run(run).dataset]

    def runs_with(self, condition: Callable[[RunConfig], bool]) -> tuple[str, str]:
        """Patterns of the names of all runs for which `condition` holds, and of all other names."""
        found = "|".join(re.escape(run.name) for run in self.config.runs.values() if condition(run)) or "(?!)"
        return found, rf"(?!({found})/)[^/]+"

    def device(self, run: str) -> str:
        return self.run(run).device

    def gpus(self, run: str) -> int:
        """How many GPUs a job of the run's model takes."""
        return int(self.run(run).device != "cpu")

    def batch_tokens(self, run: str) -> int:
        return self.run(run).batch_tokens

    def tokens(self, run: str) -> str:
        """The file that stands for a run's token data set."""
        return self.dataset_of(run).paths.tokens

    def shards(self, run: str) -> list[str]:
        return [shard_name(index) for index in range(self.run(run).shards)]

    def shard(self, run: str, shard: str) -> str:
        """`shard`, if the run has it; raises ConfigError if not."""
        if shard not in self.shards(run):
            expected = f"a shard from 0000 to {self.shards(run)[-1]}"
            raise ConfigError(RunPaths(run).scan(shard), expected, shard, "correct it, or `shards` in your config file")
        return shard

    def is_last(self, run: str, shard: str) -> bool:
        """Whether a shard is the last of its run."""
        return self.shard(run, shard) == self.shards(run)[-1]

    def scans(self, run: str) -> list[str]:
        """What the scan writes, for all shards of a run."""
        return [RunPaths(run).scan(shard) for shard in self.shards(run)]

    def rows_of_shard(self, run: str, shard: str) -> str:
        """What the run's plan says of the rows of a shard, without their place; empty while there is none."""
        path = RunPaths(run).plan
        try:
            plan = _plan(path, os.stat(path).st_mtime_ns)
            return f"{plan.base} {plan.shard(shard).digest}"
        except (FileNotFoundError, StoreError, ShardMismatch):
            return ""


@functools.lru_cache(maxsize=8)
def _plan(path: str, changed: int) -> Plan:
    """The plan that the file holds since `changed`."""
    return Plan.read(path)

"""The one place where the raw config becomes typed objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gluscope.config.check import check, nearest
from gluscope.config.keys import ConfigFile, DatasetConfig, RunConfig
from gluscope.config.schema import schema
from gluscope.core.errors import ConfigError


class ConfigErrors(Exception):
    """One or more mistakes in a config; `str()` has one line for each."""

    def __init__(self, errors: list[ConfigError]) -> None:
        self.errors = errors
        super().__init__("\n".join(f"error: {error}" for error in errors))


def load(raw: Mapping[str, Any]) -> ConfigFile:
    """Typed config from what YAML gave. Raises ConfigErrors with everything that is wrong."""
    errors = check(raw, schema())
    if errors:
        raise ConfigErrors(errors)
    config = ConfigFile(
        datasets={name: DatasetConfig(name=name, **keys) for name, keys in raw.get("datasets", {}).items()},
        runs={name: RunConfig(name=name, **keys) for name, keys in raw.get("runs", {}).items()},
        all=list(raw.get("all", [])),
    )
    errors = [error for run in config.runs.values() for error in _impossible(run, config)]
    errors += [unknown_run(name, config, "config: all") for name in config.all if name not in config.runs]
    if errors:
        raise ConfigErrors(errors)
    return config


def unknown_run(name: str, config: ConfigFile, where: str) -> ConfigError:
    """The error for a run that the config does not have."""
    return ConfigError(where, "the name of a run", repr(name), nearest(name, config.runs))


def _impossible(run: RunConfig, config: ConfigFile) -> list[ConfigError]:
    """What the keys of a run demand of each other."""
    where = f"config: runs: {run.name}"
    errors = []
    if run.dataset not in config.datasets:
        step = nearest(run.dataset, config.datasets)
        errors.append(ConfigError(f"{where}: dataset", "the name of an entry of `datasets`", repr(run.dataset), step))
    if run.pages_from == "cache" and not run.cache:
        step = "set `cache: true`, or `pages_from: model`"
        expected = "replay or model (the run has `cache: false`)"
        errors.append(ConfigError(f"{where}: pages_from", expected, "'cache'", step))
    if run.activations is not None:
        expected = "no such key (reading published activations is not built yet)"
        errors.append(ConfigError(f"{where}: activations", expected, repr(run.activations), "leave it out, to scan"))
    return errors

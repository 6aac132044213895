"""The one place where the raw config becomes typed objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gluscope.config.chat import chat_mistakes
from gluscope.config.check import check, nearest
from gluscope.config.keys import ConfigFile, RunConfig
from gluscope.core.errors import ConfigError
from gluscope.core.paths import RunPaths


class ConfigErrors(Exception):
    """One or more mistakes in a config; `str()` has one line for each."""

    def __init__(self, errors: list[ConfigError]) -> None:
        self.errors = errors
        super().__init__("\n".join(f"error: {error}" for error in errors))


def load_config(raw: Mapping[str, Any]) -> ConfigFile:
    """Typed config from what YAML gave. Raises ConfigErrors with everything that is wrong."""
    config = check(raw)
    if not isinstance(config, ConfigFile):
        raise ConfigErrors(config)
    errors = [error for run in config.runs.values() for error in _impossible(run, config)]
    errors += [error for data in config.datasets.values() for error in chat_mistakes(data)]
    errors += [error for run in config.runs.values() for error in _beside_activations(run)]
    errors += [unknown_run(name, config, "config: all") for name in config.all if name not in config.runs]
    if errors:
        raise ConfigErrors(errors)
    return config


def unknown_run(name: str, config: ConfigFile, where: str) -> ConfigError:
    """The error for a run that the config does not have; where it has results, its own config file was left out."""
    if Path(RunPaths(name).model).is_file():
        found = f"{name!r}, which has results but no entry in the config"
        step = "add --configfile with the file that has it"
        return ConfigError(where, "the name of a run", found, step)
    return ConfigError(where, "the name of a run", repr(name), nearest(name, config.runs))


def _impossible(run: RunConfig, config: ConfigFile) -> list[ConfigError]:
    """What the keys of a run demand of each other."""
    where = f"config: runs: {run.name}"
    errors = []
    if run.dataset not in config.datasets:
        step = nearest(run.dataset, config.datasets)
        errors.append(ConfigError(f"{where}: dataset", "the name of an entry of `datasets`", repr(run.dataset), step))
    if run.pages_from == "cache" and not run.cache and run.activations is None:
        step = "set `cache: true`, or `pages_from: model`"
        expected = "replay or model (the run has `cache: false`)"
        errors.append(ConfigError(f"{where}: pages_from", expected, "'cache'", step))
    return errors


def _beside_activations(run: RunConfig) -> list[ConfigError]:
    """Keys that are for scans, in a run that has published activations instead."""
    if run.activations is None and run.sampled_activations is not None:
        where, found = f"config: runs: {run.name}: sampled_activations", repr(run.sampled_activations)
        return [ConfigError(where, "`activations` beside it", found, "leave it out: a scan samples tokens itself")]
    if run.activations is None:
        return []
    useless = {"samples", "seed", "cache_dtype"} & run.model_fields_set
    useless |= {"cache"} if run.cache else set()
    useless |= {"skip_tokens"} & run.model_fields_set if run.skip_tokens else set()
    useless |= {"pages_from"} if run.pages_from == "cache" else set()
    # A replay is a pass over shards of its own.
    useless |= {"shards"} & run.model_fields_set if run.pages_from != "replay" else set()
    expected, where = "nothing of a scan beside `activations`", f"config: runs: {run.name}"
    return [
        ConfigError(f"{where}: {key}", expected, repr(getattr(run, key)), f"leave {key} out, or `activations`")
        for key in sorted(useless)
    ]

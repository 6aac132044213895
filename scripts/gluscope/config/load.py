"""The one place where the raw config becomes typed objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gluscope.config.chat import chat_mistakes
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
        runs={name: _run(name, keys) for name, keys in raw.get("runs", {}).items()},
        all=list(raw.get("all", [])),
        every_edit=bool(raw.get("every_edit", False)),
    )
    errors = [error for run in config.runs.values() for error in _impossible(run, config)]
    errors += [error for data in config.datasets.values() for error in chat_mistakes(data)]
    errors += [error for name, keys in raw.get("runs", {}).items() for error in _beside_activations(name, keys)]
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
    if run.pages_from == "cache" and not run.cache and run.activations is None:
        step = "set `cache: true`, or `pages_from: model`"
        expected = "replay or model (the run has `cache: false`)"
        errors.append(ConfigError(f"{where}: pages_from", expected, "'cache'", step))
    return errors


def _run(name: str, keys: Mapping[str, Any]) -> RunConfig:
    """A run with published activations scans nothing, so it keeps no cache."""
    without = {"cache": False} if keys.get("activations") is not None else {}
    return RunConfig(name=name, **{**without, **keys})


def _beside_activations(name: str, keys: Mapping[str, Any]) -> list[ConfigError]:
    """Keys that are for scans, in a run that has published activations instead."""
    if keys.get("activations") is None:
        return []
    useless = {key: keys[key] for key in ("samples", "seed", "cache_dtype") if key in keys}
    useless |= {"cache": True} if keys.get("cache") else {}
    useless |= {"pages_from": "cache"} if keys.get("pages_from") == "cache" else {}
    # A replay is a pass over shards of its own.
    useless |= {"shards": keys["shards"]} if "shards" in keys and keys.get("pages_from") != "replay" else {}
    expected = "nothing of a scan beside `activations`"
    return [
        ConfigError(f"config: runs: {name}: {key}", expected, repr(value), f"leave {key} out, or `activations`")
        for key, value in useless.items()
    ]

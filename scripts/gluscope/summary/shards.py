"""Joining the statistics of all shards of a run, a layer and a shard at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import ShardMismatch, StoreError
from gluscope.store.damage import made_anew, to_redo
from gluscope.store.summary import read_attributes, read_layer, read_sample, write_summary
from gluscope.summary.convention import refactor
from gluscope.summary.merge import merge
from gluscope.summary.types import LayerSummary, SampleTokens

# Attributes in which the shards of one run may differ; in all others they must agree.
OWN = frozenset({"shard", "first_row", "last_row", "rows", "tokens"})
INDIFFERENT = frozenset({"device", "batch_tokens", "reducer", "cache_dtype", "versions"})
_LARGE = 100_000  # neurons, counted once for every shard and layer


@dataclass(frozen=True)
class _Shard:
    path: Path
    attributes: Mapping[str, Any]
    sample: SampleTokens

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def rows(self) -> range:
        return range(self.attributes["first_row"], self.attributes["last_row"] + 1)


def merge_shards(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    sign: np.ndarray,
    convention: str = "raw",
    attributes: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the summary of a whole run, `out`, from the statistics of its shards; returns its attributes.

    paths: in any order. sign: int8 [layer, neuron]. convention: "raw" or "refactored", what the values of `out` are in.
    attributes: kept beside those in which the shards agree. settings: attributes that every shard must have.
    Memory: a few layers, however many shards there are.
    Raises ShardMismatch, which names the shard, for other settings, for rows that two shards or none have, and for
    lists with rows that a shard has not; StoreError for a damaged file.
    """
    shards = sorted((_open(path) for path in paths), key=lambda shard: (shard.rows.start, shard.rows.stop))
    if not shards:
        raise ShardMismatch(str(out), "shards to join", "none", "run the scan")
    _refuse_unasked_settings(shards, settings or {})
    _refuse_other_settings(shards)
    _refuse_other_rows(shards)
    about = {**_joined(shards), **(attributes or {}), "convention": convention}
    sample = SampleTokens(
        np.concatenate([shard.sample.example for shard in shards]),
        np.concatenate([shard.sample.position for shard in shards]),
    )
    layers = _layers(shards, sign, len(sample.example), convention)
    write_summary(out, layers, n_layers=len(sign), sample=sample, attributes=about, sign=np.asarray(sign, np.int8))
    return about


def _open(path: str | Path) -> _Shard:
    attributes = read_attributes(path)
    if missing := sorted((OWN | {"convention", "k"}) - attributes.keys()):
        found = f"no {missing[0]} in its attributes"
        raise StoreError(str(path), "the statistics of a shard", found, made_anew(Path(path)))
    return _Shard(Path(path), attributes, read_sample(path))


def _refuse_unasked_settings(shards: Sequence[_Shard], settings: Mapping[str, Any]) -> None:
    """Snakemake knows with what settings a file was made only if it was alive when the file was finished."""
    stale = [shard for shard in shards if any(shard.attributes.get(key) != settings[key] for key in settings)]
    if stale:
        first = stale[0]
        key = next(key for key in settings if first.attributes.get(key) != settings[key])
        found = repr(first.attributes.get(key)) + (
            f" (and {len(stale) - 1} more shards of others)" if stale[1:] else ""
        )
        error = to_redo(ShardMismatch, first.path, first.name, f"{key} {settings[key]!r} as in the config", found)
        error.redo = tuple(shard.name for shard in stale)
        raise error


def _refuse_other_settings(shards: Sequence[_Shard]) -> None:
    """Compare every shard with what most of them say."""
    for key in sorted(set().union(*(shard.attributes for shard in shards)) - OWN - INDIFFERENT):
        values = [repr(shard.attributes.get(key)) for shard in shards]
        usual = max(values, key=values.count)
        for shard, value in zip(shards, values, strict=True):
            if value != usual:
                raise to_redo(ShardMismatch, shard.path, shard.name, f"{key} {usual} as in the other shards", value)


def _refuse_other_rows(shards: Sequence[_Shard]) -> None:
    """The shards, in the order of their rows, must hold every row of the data set once."""
    after, before = 0, None
    for shard in shards:
        rows = shard.rows
        if len(rows) != shard.attributes["rows"]:
            expected = f"rows {_span(rows)}"
            found = f"{shard.attributes['rows']} of them"
            raise to_redo(ShardMismatch, shard.path, shard.name, expected, found)
        if len(rows) and rows.start < after:
            found = f"row {rows.start}, which {before} has as well"
            raise ShardMismatch(
                shard.name, f"rows from {after} on", found, "remove both and run the same command again"
            )
        if len(rows) and rows.start > after:
            raise ShardMismatch(shard.name, f"rows {_span(range(after, rows.start))} in a shard before", "none", _AGAIN)
        if len(rows):
            after, before = rows.stop, shard.name
    whole = shards[0].attributes.get("dataset_rows", after)
    if after != whole:
        raise ShardMismatch(shards[-1].name, f"rows {_span(range(after, whole))} in a shard after", "none", _AGAIN)


_AGAIN = "run the scan of all shards of one plan"


def _span(rows: range) -> str:
    return f"{rows.start}-{rows.stop - 1}" if len(rows) else "none"


def _joined(shards: Sequence[_Shard]) -> dict[str, Any]:
    """Attributes of the whole: what all shards share, sums, and all values of what may differ."""
    first = shards[0].attributes
    shared = {key: value for key, value in first.items() if key not in OWN | INDIFFERENT}
    sums = {key: sum(shard.attributes[key] for shard in shards) for key in ("rows", "tokens")}
    devices = {str(shard.attributes["device"]) for shard in shards if "device" in shard.attributes}
    found: dict[str, set[str]] = {}
    for shard in shards:
        for package, version in shard.attributes.get("versions", {}).items():
            found.setdefault(package, set()).add(str(version))
    versions = {package: ", ".join(sorted(several)) for package, several in found.items()}
    return {**shared, **sums, "shards": len(shards), "device": ", ".join(sorted(devices)), "versions": versions}


def _layers(shards: Sequence[_Shard], sign: np.ndarray, samples: int, convention: str) -> Iterator[LayerSummary]:
    quick = _quick(len(shards) * sign.size)
    for layer, flips in enumerate(sign):
        whole: LayerSummary | None = None
        gate, in_ = np.empty((2, len(flips), samples), np.float16)
        done = 0
        for shard in shards:
            part = read_layer(shard.path, layer)
            _refuse_strange_lists(shard, part, layer, len(flips))
            width = part.sample_gate.shape[1]
            gate[:, done : done + width], in_[:, done : done + width] = part.sample_gate, part.sample_in
            done += width
            bare = replace(part, sample_gate=part.sample_gate[:, :0], sample_in=part.sample_in[:, :0])
            if whole is None:
                whole = bare
            elif quick is not None:
                quick(whole, bare)
            else:
                whole = merge(whole, bare)
        assert whole is not None
        whole = replace(whole, sample_gate=gate, sample_in=in_)
        yield refactor(whole, flips) if convention == "refactored" else whole


def _quick(neurons: int) -> Callable[[LayerSummary, LayerSummary], None] | None:
    """The compiled `merge`, where there is so much to join that it pays to compile it."""
    if neurons < _LARGE:
        return None
    from gluscope.summary.in_place import add

    return add


def _refuse_strange_lists(shard: _Shard, part: LayerSummary, layer: int, neurons: int) -> None:
    """What a shard says of a layer must fit what it says of itself."""
    if part.neurons != neurons or part.k != shard.attributes["k"]:
        expected, found = f"{neurons} neurons, k {shard.attributes['k']}", f"{part.neurons}, k {part.k}"
        raise to_redo(ShardMismatch, shard.path, f"{shard.name}, layer {layer}", expected, found)
    rows, example = shard.rows, part.extreme_example
    low = int(example.min(initial=rows.start, where=example >= 0))
    high = int(example.max(initial=-1))
    if low < rows.start or high >= rows.stop:
        strange = low if low < rows.start else high
        where = f"{shard.name}, layer {layer}"
        raise to_redo(ShardMismatch, shard.path, where, f"rows {_span(rows)}", f"row {strange}")
    if int(part.count.sum(axis=1).max(initial=0)) > shard.attributes["tokens"]:
        most = f"at most {shard.attributes['tokens']} tokens a neuron"
        raise to_redo(ShardMismatch, shard.path, f"{shard.name}, layer {layer}", most, "more in its cases")

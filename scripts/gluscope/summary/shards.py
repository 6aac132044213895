"""Joining the statistics of all shards of a run, a layer and a shard at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.convention import view
from gluscope.core.errors import ShardMismatch, StoreError
from gluscope.store.damage import made_anew, refuse_other_shard, to_redo
from gluscope.summary.file import SummaryReader, write_summary
from gluscope.summary.samples import choose_columns
from gluscope.summary.types import SAMPLED, LayerSummary, SampleTokens

# Attributes in which the shards of one run may differ; in all others they must agree.
OWN = frozenset({"shard", "first_row", "last_row", "rows", "tokens", "skipped", "rows_digest"})
# What the data set was when a shard was scanned. It may have grown since then.
OF_DATASET = frozenset({"dataset_revision", "dataset_fingerprint", "dataset_rows", "dataset_tokens"})
# What a shard did that does not say so: the key is younger than it.
BEFORE = {"tf32": False}
INDIFFERENT = frozenset({"device", "batch_tokens", "reducer", "cache_dtype", "versions"})
_OPEN = 512  # files that stay open; systems allow 1024 to a process, often


@dataclass(frozen=True)
class _Shard:
    path: Path
    reader: SummaryReader
    sample: SampleTokens

    @property
    def attributes(self) -> Mapping[str, Any]:
        return self.reader.attributes

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def rows(self) -> range:
        return range(self.attributes["first_row"], self.attributes["last_row"] + 1)


@dataclass(frozen=True)
class Whole:
    """The data set as it is now, for shards of which some were scanned when it was smaller.

    rows: of each shard, by name, (first row, last row, digest of its tokens). plan: what they were cut by.
    sample: the tokens that are to be kept of those that the shards have. attributes: of `OF_DATASET`.
    """

    rows: Mapping[str, tuple[int, int, str]]
    plan: str
    sample: SampleTokens
    attributes: Mapping[str, Any]


def merge_shards(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    sign: np.ndarray,
    convention: str = "raw",
    attributes: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    whole: Whole | None = None,
) -> dict[str, Any]:
    """Write the summary of a whole run, `out`, from the statistics of its shards; returns its attributes.

    paths: in any order. sign: int8 [layer, neuron]. convention: "raw" or "refactored", what the values of `out` are in.
    attributes: kept beside those in which the shards agree. settings: attributes that every shard must have. whole: the
    data set as it is now; left out where all shards were scanned of the same one. Memory: a few layers, however many
    shards there are.
    Raises ShardMismatch, which names the shard, for other settings, for rows that two shards or none have, and for
    lists or a sample with rows that a shard has not; StoreError for a damaged file.
    """
    shards = sorted((_open(path) for path in paths), key=lambda shard: (shard.rows.start, shard.rows.stop))
    if not shards:
        raise ShardMismatch(str(out), "shards to join", "none", "run the scan")
    _refuse_unasked_settings(shards, settings or {})
    _refuse_other_settings(shards, frozenset() if whole is None else OF_DATASET)
    if whole is not None:
        _refuse_others_than(shards, whole)
    _refuse_other_rows(shards, None if whole is None else whole.attributes["dataset_rows"])
    about = {**_joined(shards, whole), **(attributes or {}), "convention": convention}
    sample, columns = choose_columns([(shard.name, shard.sample) for shard in shards], whole.sample if whole else None)
    with ExitStack() as stack:
        for shard in shards[:_OPEN]:
            stack.enter_context(shard.reader)
        layers = _layers(shards, sign, columns, convention)
        known: dict[str, Any] = {
            "sample": sample,
            "attributes": about,
            "sign": np.asarray(sign, np.int8),
            "routed": _routed(shards),
        }
        write_summary(out, layers, n_layers=len(sign), **known)
    return about


def _open(path: str | Path) -> _Shard:
    reader = SummaryReader(path)
    attributes = reader.attributes
    if missing := sorted((OWN - {"rows_digest", "skipped"} | {"convention", "k"}) - attributes.keys()):
        found = f"no {missing[0]} in its attributes"
        raise StoreError(str(path), "the statistics of a shard", found, made_anew(Path(path)))
    refuse_other_shard(Path(path), attributes)
    return _Shard(Path(path), reader, reader.sample())


def _refuse_unasked_settings(shards: Sequence[_Shard], settings: Mapping[str, Any]) -> None:
    """The workflow knows with what settings a file was made only if it was alive when the file was finished."""
    wrong = {
        shard.path: (
            f"{key} {_words(key, asked)} as in the config",
            _words(key, shard.attributes.get(key, BEFORE.get(key))),
        )
        for shard in shards
        for key, asked in settings.items()
        if shard.attributes.get(key, BEFORE.get(key)) != asked
    }
    _refuse_all(wrong)


def _words(key: str, value: Any) -> str:
    versions = isinstance(value, Mapping) and key == "stages"
    return ", ".join(f"{name} {version}" for name, version in value.items()) if versions else repr(value)


def _refuse_all(wrong: Mapping[Path, tuple[str, str]]) -> None:
    """Raises one error for all shards, of which it names the first, that are to be scanned again.

    wrong: by shard, what was expected and what was found.
    """
    if not wrong:
        return
    first, (expected, found) = next(iter(wrong.items()))
    more = f" (and {len(wrong) - 1} more shards of others)" if len(wrong) > 1 else ""
    error = to_redo(ShardMismatch, first, str(first), expected, found + more)
    error.redo = tuple(map(str, wrong))
    raise error


def _refuse_other_settings(shards: Sequence[_Shard], may_differ: frozenset[str]) -> None:
    """Compare every shard with what most of them say."""
    for key in sorted(set().union(*(shard.attributes for shard in shards)) - OWN - INDIFFERENT - may_differ):
        values = [repr(shard.attributes.get(key, BEFORE.get(key))) for shard in shards]
        usual = max(values, key=values.count)
        for shard, value in zip(shards, values, strict=True):
            if value != usual:
                raise to_redo(ShardMismatch, shard.path, shard.name, f"{key} {usual} as in the other shards", value)


def _refuse_others_than(shards: Sequence[_Shard], whole: Whole) -> None:
    """Every shard must have been cut by this plan, and hold the rows that it names."""
    wrong: dict[Path, tuple[str, str]] = {}
    for shard in shards:
        about = shard.attributes
        rows = about["first_row"], about["last_row"], about.get("rows_digest")
        if about.get("plan") != whole.plan:
            wrong[shard.path] = f"a shard of plan {whole.plan[:8]}", f"plan {str(about.get('plan'))[:8]}"
        elif whole.rows.get(about["shard"]) != rows:
            found = f"others in its rows {_span(shard.rows)}"
            wrong[shard.path] = "the texts that the data set has now", found
    _refuse_all(wrong)


def _refuse_other_rows(shards: Sequence[_Shard], whole: int | None) -> None:
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
    whole = shards[0].attributes.get("dataset_rows", after) if whole is None else whole
    if after != whole:
        raise ShardMismatch(shards[-1].name, f"rows {_span(range(after, whole))} in a shard after", "none", _AGAIN)


_AGAIN = "run the scan of all shards of one plan"


def _span(rows: range) -> str:
    return f"{rows.start}-{rows.stop - 1}" if len(rows) else "none"


def _joined(shards: Sequence[_Shard], whole: Whole | None) -> dict[str, Any]:
    """Attributes of the whole: what all shards share, sums, and all values of what may differ."""
    of_whole: dict[str, Any] = {}
    if whole is not None:
        of_whole = {**whole.attributes, "rows_digest": {name: digest for name, (_, _, digest) in whole.rows.items()}}
    first = shards[0].attributes
    shared = {key: value for key, value in first.items() if key not in OWN | INDIFFERENT}
    sums = {key: sum(shard.attributes.get(key, 0) for shard in shards) for key in ("rows", "tokens", "skipped")}
    scanned = [shard.attributes for shard in shards if shard.attributes["rows"]]
    places = {key: ", ".join(sorted({str(one[key]) for one in scanned if key in one})) for key in ("device", "reducer")}
    found: dict[str, set[str]] = {}
    for shard in shards:
        for package, version in shard.attributes.get("versions", {}).items():
            found.setdefault(package, set()).add(str(version))
    versions = {package: ", ".join(sorted(several)) for package, several in found.items()}
    own = {"shards": len(shards), **places, "versions": versions}
    return {**shared, **of_whole, **sums, **own}


def _layers(
    shards: Sequence[_Shard], sign: np.ndarray, columns: Sequence[np.ndarray], convention: str
) -> Iterator[LayerSummary]:
    for layer, flips in enumerate(sign):
        yield view(_layer(shards, len(flips), layer, columns), flips, "raw", convention)


def _layer(shards: Sequence[_Shard], neurons: int, layer: int, columns: Sequence[np.ndarray]) -> LayerSummary:
    gate, in_ = (np.empty((neurons, sum(map(len, columns))), np.float16) for _ in SAMPLED)
    whole, done = None, 0
    for shard, kept in zip(shards, columns, strict=True):
        to = slice(done, done := done + len(kept))
        whole = _joined_with(whole, shard, layer, (gate[:, to], in_[:, to], kept))
    assert whole is not None
    return replace(whole, sample_gate=gate, sample_in=in_)


def _routed(shards: Sequence[_Shard]) -> np.ndarray | None:
    """int64 [layer, expert], tokens that reach each expert; None for a model without."""
    found = [routed for shard in shards if (routed := shard.reader.routed()) is not None]
    return np.sum(np.stack(found), axis=0) if found else None


def _joined_with(
    whole: LayerSummary | None, shard: _Shard, layer: int, sample: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> LayerSummary:
    """A layer's statistics so far, and a shard's. sample: gate and in, to be filled with these columns of the shard's.

    Once it returns, nothing of the shard is in memory.
    """
    from gluscope.summary.merge import add

    gate, in_, kept = sample
    part = shard.reader.layer(layer, samples=False)
    _refuse_strange_lists(shard, part, layer, len(gate))
    if whole is None:
        whole = part
    else:
        add(whole, part)
    del part
    for name, values in zip(SAMPLED, (gate, in_), strict=True):
        values[:] = shard.reader.read(name, layer)[:, kept]
    return whole


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

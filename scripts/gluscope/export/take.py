"""A run's summary from published activations, in place of a scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gluscope.core.cases import LISTS
from gluscope.core.convention import view
from gluscope.core.errors import DatasetError, ModelError
from gluscope.core.names import public_name
from gluscope.core.provenance import versions
from gluscope.dataset.record import TokenRecord
from gluscope.dataset.sources import Located, revision_of
from gluscope.export.published import from_table, width
from gluscope.export.sampled import open_sampled
from gluscope.export.source import Published, open_published, refuse_other_order
from gluscope.model.spec import ModelSpec
from gluscope.summary.file import write_summary
from gluscope.summary.merge import in_order
from gluscope.summary.types import LayerSummary, SampleTokens

NOTE = (
    "Statistics are from published activations (ID, revision REVISION), not from a scan. They name texts without "
    "positions: each extreme stands where the values computed for this page have theirs. Counts follow from published "
    "frequencies, so the last digits may be off. "
)
NOT_SAMPLED = "No tokens were sampled."
SAMPLED = "Its sampled tokens, {count:,} of them, are from published ones ({id}, revision {revision})."


@dataclass(frozen=True)
class Taking:
    """What the run asks for. convention: "raw" or "refactored". dtype, tf32: of the forward passes for pages. stages:
    the versions of what takes them."""

    k: int
    convention: str
    dtype: str
    tf32: bool = False
    stages: Mapping[str, str] = field(default_factory=dict)


def take_activations(
    located: Located,
    spec: ModelSpec,
    tokens: TokenRecord,
    sign: np.ndarray,
    taking: Taking,
    out: str | Path,
    sample: TakenSample | None = None,
) -> dict[str, Any]:
    """Write the summary `out` from the activations at `located`; returns its attributes. Memory: a few layers.

    sign: int8 [layer, neuron], the model's. tokens: of the data set that the activations were computed on. sample:
    sampled activations of the same model and data; without them nothing is sampled. Positions of extremes stay
    unknown. Raises DatasetError, which names what differs, for another model's size, another k, texts that the data
    set lacks, and values that cannot be.
    """
    if spec.mixture is not None:
        step = "take `activations` out and scan"
        raise ModelError(located.id, "activations of a dense model", f"{spec.architecture}, of experts", step)
    published = open_published(located.folder)
    _refuse_other_size(located.id, published.rows, spec)
    _refuse_other_tokens(located, published, tokens)
    revision = _revision(located, published.files)
    about = _describe(located, revision, published, spec, tokens, taking)
    layers = _layers(located, published, spec, tokens, sign, taking)
    places = SampleTokens(np.zeros(0, np.int64), np.zeros(0, np.int32))
    if sample is not None:
        _refuse_other_size(sample.located.id, sample.found.rows, spec)
        places, layers = sample.found.tokens, sample.joined(layers, spec, sign, taking.convention)
        about |= {"samples": len(places.example), "sampled_activations": sample.about}
    about["note"] += sample.note if sample else NOT_SAMPLED
    write_summary(out, layers, n_layers=spec.n_layers, sample=places, attributes=about, sign=np.asarray(sign, np.int8))
    return about


class TakenSample:
    """Published sampled activations, as the run's samples.

    located: where they are. lengths: int [row], tokens of each text of the data set. Raises DatasetError for texts or
    positions that the data set lacks.
    """

    def __init__(self, located: Located, lengths: np.ndarray) -> None:
        self.located, self.found = located, open_sampled(located.folder)
        tokens = self.found.tokens
        inside = (tokens.example >= 0) & (tokens.example < len(lengths)) & (tokens.position >= 0)
        inside &= tokens.position < lengths[np.clip(tokens.example, 0, len(lengths) - 1)]
        if not inside.all():
            at = int(np.argmin(inside))
            found = f"token {tokens.position[at]} of row {tokens.example[at]}"
            step = "name, under `dataset`, the data set that they were sampled from"
            raise DatasetError(located.id, "sampled tokens that the data set has", found, step)
        revision = _revision(located, self.found.files)
        self.about = {"id": located.id, "revision": revision, "convention": self.found.convention}
        self.note = SAMPLED.format(count=len(tokens.example), id=public_name(located.id), revision=revision)

    def joined(
        self, layers: Iterator[LayerSummary], spec: ModelSpec, sign: np.ndarray, convention: str
    ) -> Iterator[LayerSummary]:
        """The layers with their samples, in the run's convention."""
        other = self.found.convention != convention
        for layer, (summary, (gate, in_)) in enumerate(zip(layers, self.found.layers(spec.d_mlp), strict=True)):
            flipped = np.where(other & (sign[layer, :, None] < 0), -in_, in_)
            yield replace(summary, sample_gate=gate, sample_in=flipped)


def _revision(located: Located, files: list[Path]) -> str:
    """Of what is read, where others may lie beside it."""
    return revision_of(located, None if Path(located.folder).is_file() else frozenset(file.name for file in files))


def _refuse_other_size(name: str, rows: int, spec: ModelSpec) -> None:
    if rows != spec.n_layers * spec.d_mlp:
        neurons = f"{spec.n_layers} layers of {spec.d_mlp} neurons, {spec.n_layers * spec.d_mlp} rows"
        raise DatasetError(
            name, f"{neurons}, as {spec.model} has", f"{rows} rows", "name the activations of this model"
        )


def _describe(
    located: Located, revision: str, published: Published, spec: ModelSpec, tokens: TokenRecord, taking: Taking
) -> dict[str, Any]:
    return {
        **spec.attributes,
        **tokens.attributes,
        "rows": tokens.rows,
        "tokens": tokens.tokens,
        "skip_tokens": [],
        "skipped": 0,
        "skipped_ids": [],
        **published.skips,
        "k": taking.k,
        "samples": 0,
        "dtype": taking.dtype,
        "tf32": taking.tf32,
        "convention": taking.convention,
        "stages": dict(taking.stages),
        "activations": {"id": located.id, "revision": revision, "convention": published.convention},
        "derived": {
            "count": "nearest whole number to the published frequency x tokens",
            "sum": "published mean x count",
            "extreme_position": "not published; -1 here, found in the recomputed values for each page",
        },
        "note": NOTE.replace("ID", public_name(located.id)).replace("REVISION", revision),
        "versions": versions("numpy", "pyarrow", "torch"),
    }


def _layers(
    located: Located, published: Published, spec: ModelSpec, tokens: TokenRecord, sign: np.ndarray, taking: Taking
) -> Iterator[LayerSummary]:
    for layer, table in enumerate(published.tables(spec.d_mlp)):
        where = f"{located.id}, layer {layer}"
        refuse_other_order(located.id, table, layer * spec.d_mlp, spec.d_mlp)
        if width(table) != taking.k:
            step = f"set `k: {width(table)}` in the run"
            raise DatasetError(where, f"lists of {taking.k} examples, the run's k", str(width(table)), step)
        summary = from_table(table, published.skips.get("tokens", tokens.tokens))
        _refuse_other_texts(where, table, summary, tokens)
        _refuse_impossible(where, summary)
        # The original tool leaves ties in any order.
        yield view(in_order(summary), sign[layer], published.convention, taking.convention)


def _refuse_other_tokens(located: Located, published: Published, tokens: TokenRecord) -> None:
    if published.skips and (seen := published.skips["tokens"] + published.skips["skipped"]) != tokens.tokens:
        step = "name, under `dataset`, the data set that the activations were computed on"
        raise DatasetError(located.id, f"activations over {tokens.tokens} tokens", str(seen), step)


def _refuse_other_texts(where: str, table: pa.Table, summary: LayerSummary, tokens: TokenRecord) -> None:
    """What is said of rows and tokens must fit the data set."""
    step = "name, under `dataset`, the data set that the activations were computed on"
    largest = int(summary.extreme_example.max(initial=-1))
    if largest >= tokens.rows:
        raise DatasetError(where, f"rows below {tokens.rows}, as {tokens.source['id']} has", f"row {largest}", step)
    shares = np.stack([table.column(name).to_numpy() for name in table.column_names if name.endswith("_freq")])
    if not ((shares >= 0).all() and (shares.sum(axis=0, dtype=np.float64) <= 1 + 1e-6).all()):
        raise DatasetError(where, "frequencies from 0 to 1, together at most 1", "others", "fetch or write it again")


def _refuse_impossible(where: str, summary: LayerSummary) -> None:
    """Values that no token of their case can have."""
    for case, quantity in LISTS:
        value = summary.extreme_value[:, case.index, quantity.index]
        bad = np.argwhere(np.isinf(value) | (value * case.sign(quantity) < 0))
        if len(bad):
            neuron, place = bad[0]
            expected = f"{'positive' if case.sign(quantity) > 0 else 'negative'} {quantity.hook} in {case.value}"
            found = f"{value[neuron, place]:.4g} for neuron {neuron}"
            raise DatasetError(
                where, expected, found, "fetch or write it again; it must be in the refactored convention"
            )

"""All neurons of a run as a Parquet table, one row each, ordered by layer and neuron: one row group a layer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gluscope.core.activation import act
from gluscope.core.cases import CASES, QUANTITIES, Quantity, SignCase
from gluscope.core.convention import view
from gluscope.core.names import public_name
from gluscope.core.provenance import RunProvenance
from gluscope.core.size import Size
from gluscope.descriptions.types import Descriptions
from gluscope.effect.types import Effect, mean_and_spread
from gluscope.explain.types import Explanation
from gluscope.export.columns import Column, of_case, type_of
from gluscope.export.described import description_columns, description_fields
from gluscope.export.in_words import words_columns, words_fields
from gluscope.store.atomic import new_file
from gluscope.store.listing import list_file
from gluscope.summary.types import LayerSummary
from gluscope.weights.classes import RW_CLASSES
from gluscope.weights.types import COSINES, VECTORS, Cosine, LayerWeights

_NO_TOKENS = "no token is in the case"
COLUMNS = (
    Column("layer", "int32", "", "", "from 0"),
    Column("neuron", "int32", "", "", "place in its layer, from 0"),
    Column("{case}_count", "int64", "tokens", "", "tokens in the case"),
    Column("{case}_frequency", "float64", "", "", "count / all tokens scanned"),
    Column("{case}_{quantity}_mean", "float64", "activation", _NO_TOKENS, "mean over the tokens in the case"),
    Column(
        "{case}_{quantity}_extreme", "float32", "activation", _NO_TOKENS, "the value with the largest magnitude, signed"
    ),
    Column("{case}_{quantity}_row", "int64", "row", _NO_TOKENS, "the text, in the token data set, that has it"),
    Column("{case}_{quantity}_position", "int32", "token", "also where unknown", "the first token that attains it"),
    Column("sign", "int8", "", "", "-1 where the refactored convention flips w_in and w_out"),
    Column("cos_in_out", "float32", "", "", "cosine of w_in and w_out"),
    Column("cos_gate_out", "float32", "", "", "cosine of w_gate and w_out"),
    Column("cos_gate_in", "float32", "", "", "cosine of w_gate and w_in"),
    Column("norm_gate", "float32", "weight", "", "length of w_gate"),
    Column("norm_in", "float32", "weight", "", "length of w_in"),
    Column("norm_out", "float32", "weight", "", "length of w_out"),
    Column("rw_class", "string", "", "", "read-write class, as docs/notation.md names it"),
)
_NOT_MEASURED = "not measured, or no example"
_AGREES = "also where nothing moves"
EFFECT_COLUMNS = (
    Column(
        "{case}_effect_logprob",
        "float32",
        "nat",
        _NOT_MEASURED,
        "what it adds to the log-probability of the token that follows, mean at the case's strongest tokens by post",
    ),
    Column(
        "{case}_effect_logprob_sd",
        "float32",
        "nat",
        "not measured, or fewer than two examples",
        "its standard deviation over these tokens",
    ),
    Column("{case}_effect_kl", "float32", "nat", _NOT_MEASURED, "KL(with, without the neuron) there, mean"),
    Column("{case}_effect_typical_logprob", "float32", "nat", _NOT_MEASURED, "the first at typical tokens of the case"),
    Column("{case}_effect_typical_kl", "float32", "nat", _NOT_MEASURED, "the KL at typical tokens of the case"),
    Column(
        "{case}_effect_signs",
        "float32",
        "",
        _AGREES,
        "of the tokens that w_out writes most, the share that moves as the weights say; 0.5 by chance",
    ),
    Column("{case}_effect_overlap", "float32", "", _AGREES, "the share of them that are among those moved most"),
)
_COSINES = {Cosine.IN_OUT: "cos_in_out", Cosine.GATE_OUT: "cos_gate_out", Cosine.GATE_IN: "cos_gate_in"}


def schema(with_effects: bool = False, with_descriptions: bool = False, with_words: bool = False) -> pa.Schema:
    """All columns, cases and quantities written out; at the end those of measured effects, descriptions and words."""
    fields: list[tuple[str, pa.DataType]] = []
    per_case = [column for column in COLUMNS if "{case}" in column.name]
    for column in COLUMNS:
        if column not in per_case:
            fields.append((column.name, type_of(column)))
        elif column is per_case[0]:
            fields += [one for case in CASES for one in of_case(case, per_case)]
    if with_effects:
        fields += _effect_fields()
    if with_descriptions:
        fields += description_fields()
    if with_words:
        fields += words_fields()
    return pa.schema(fields)


def write_neurons(
    path: str | Path,
    layers: Iterable[tuple[LayerSummary, LayerWeights]],
    *,
    provenance: RunProvenance,
    effects: Mapping[int, Mapping[int, Effect]] | None = None,
    described: Descriptions | None = None,
    explained: Mapping[int, Mapping[int, Explanation]] | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Write the table; whole or not at all. Returns its rows. Memory: about two layers.

    layers: statistics in the run's convention, which is `provenance.convention`, and weights (raw, as stored).
    effects: measured, in the raw convention, by layer and place; None for a run that measures none.
    described: what others say of them; explained: what a language model says, as effects; None for a run without.
    provenance: of the summary; model, data set and convention go into the table's metadata.
    """
    named = {name: str(getattr(provenance, name)) for name in ("model_revision", "dataset_fingerprint", "tokens")}
    named |= {"skip_tokens": json.dumps(list(provenance.skip_tokens))}
    named |= {name: public_name(getattr(provenance, name)) for name in ("model", "dataset")}
    named |= {"convention": provenance.convention}
    kept = schema(effects is not None, described is not None, explained is not None).with_metadata(named)
    if provenance.mixture is not None:
        kept = kept.insert(1, pa.field("expert", pa.string()))
    rows = 0
    with new_file(path) as part:
        with pq.ParquetWriter(part, kept, compression="zstd", write_page_checksum=True) as writer:
            for layer, (summary, weights) in enumerate(layers):
                columns = {**_statistics(summary, provenance), **_weights(weights, provenance.convention)}
                columns |= {"layer": np.full(summary.neurons, layer)}
                columns |= names(provenance.mixture, layer, summary.neurons)
                if effects is not None:
                    columns |= _effects(effects.get(layer, {}), weights.sign, provenance.convention)
                if described is not None:
                    columns |= description_columns(described, layer, weights.sign, provenance.convention)
                if explained is not None:
                    columns |= words_columns(explained.get(layer, {}), weights.sign, provenance.convention)
                table = pa.Table.from_arrays([_array(columns[field.name], field.type) for field in kept], schema=kept)
                count = Size.of_results(provenance.mixture, layer + 1, summary.neurons).layers[layer].count
                writer.write_table(table.slice(0, count), row_group_size=max(1, count))
                rows += count
                say(f"layer {layer}: {count} neurons")
        list_file(Path(path), part)
    return rows


def names(mixture: Mapping[str, Any] | None, layer: int, width: int) -> dict[str, np.ndarray]:
    """Columns `neuron`, and `expert` where the model has some ("" in dense layers), of all places of a layer."""
    if mixture is None:
        return {"neuron": np.arange(width)}
    number, expert = np.full(width, -1), np.full(width, "", object)
    for stretch in Size.of_results(mixture, layer + 1, width).layers[layer].stretches():
        number[stretch.begin : stretch.end] = np.arange(stretch.width)
        expert[stretch.begin : stretch.end] = stretch.expert
    return {"neuron": number, "expert": expert}


def _array(values: np.ndarray | tuple[np.ndarray, np.ndarray] | pa.Array, kind: pa.DataType) -> pa.Array:
    """values: as they are, or with a second array that is true where they are null."""
    if isinstance(values, pa.Array):
        return values
    found, mask = values if isinstance(values, tuple) else (values, None)
    return pa.array(np.ascontiguousarray(found), kind, mask=mask)


def _statistics(summary: LayerSummary, provenance: RunProvenance) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for case in CASES:
        count = summary.count[:, case.index]
        empty = count == 0
        found[f"{case.value}_count"] = count
        found[f"{case.value}_frequency"] = count / max(1, provenance.tokens)
        for quantity in QUANTITIES:
            name = f"{case.value}_{quantity.value}"
            found[f"{name}_mean"] = summary.sum[:, case.index, quantity.index] / np.maximum(1, count), empty
            for column, values in _extreme(summary, case, quantity, provenance.act_fn).items():
                found[f"{name}_{column}"] = values
    return found


def _extreme(summary: LayerSummary, case: SignCase, quantity: Quantity, act_fn: str) -> dict[str, Any]:
    """The first place of a list. act's where the gate is open is the gate's, which it increases with."""
    listed = quantity if quantity in case.listed else Quantity.GATE
    value, row, position = (
        getattr(summary, f"extreme_{name}")[:, case.index, listed.index, 0] for name in ("value", "example", "position")
    )
    if listed is not quantity:
        value = act(act_fn)(value)
    return {"extreme": (value, row < 0), "row": (row, row < 0), "position": (position, position < 0)}


def _effects(found: Mapping[int, Effect], sign: np.ndarray, convention: str) -> dict[str, Any]:
    """sign: int8 [neuron]; effects of others than those of `found` are null."""
    values = {field: np.full(len(sign), np.nan, np.float32) for field, _ in _effect_fields()}
    for place, effect in found.items():
        flip = convention == "refactored" and sign[place] < 0
        for case in CASES:
            at, own = (case.flipped if flip else case).index, f"{case.value}_effect"
            for group, part in enumerate(("", "typical_")):
                change, kl = mean_and_spread(effect.change[0, at, group]), mean_and_spread(effect.kl[0, at, group])
                values[f"{own}_{part}logprob"][place] = np.nan if change is None else change[0]
                values[f"{own}_{part}kl"][place] = np.nan if kl is None else kl[0]
                if not part:
                    # A single example says nothing of a spread.
                    spread = np.nan if change is None or change[2] < 2 else change[1]
                    values[f"{own}_logprob_sd"][place] = spread
            values[f"{own}_signs"][place], values[f"{own}_overlap"][place] = (
                effect.signs[0, at, 0], effect.overlap[0, at, 0],
            )  # fmt: skip
    return {name: (column, np.isnan(column)) for name, column in values.items()}


def _effect_fields() -> Iterator[tuple[str, pa.DataType]]:
    for case in CASES:
        yield from of_case(case, EFFECT_COLUMNS)


def _weights(weights: LayerWeights, convention: str) -> dict[str, Any]:
    found: dict[str, Any] = {"sign": weights.sign}
    cosine = view(weights, weights.sign, "raw", convention).cosine + 0.0  # no -0.0
    for kind in COSINES:
        found[_COSINES[kind]] = cosine[:, kind.index]
    for vector in VECTORS:
        found[vector.value.replace("w_", "norm_")] = weights.norm[:, vector.index]
    names = pa.array([kind.label for kind in RW_CLASSES])
    place = pa.array(weights.rw_class, mask=weights.rw_class < 0)
    found["rw_class"] = pa.DictionaryArray.from_arrays(place, names)
    return found

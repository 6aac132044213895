"""The weights stage: every neuron of a model, layer by layer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.convention import CONVENTIONS
from gluscope.core.provenance import versions
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.weights.chance import evenly, mismatched, random_quantiles
from gluscope.weights.classes import rw_classes
from gluscope.weights.file import write_weights
from gluscope.weights.folded import FoldedRows
from gluscope.weights.nearest import affordable_reach, nearest
from gluscope.weights.products import cosines, norms, products, quantiles, sign_from
from gluscope.weights.tokens import token_scores
from gluscope.weights.types import COSINES, NEAREST, QUANTILES, LayerWeights, Vector, joined, widened


def run_weights(
    spec: ModelSpec,
    path: str | Path,
    *,
    reach: int | None = None,
    attributes: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Write the weight statistics of all neurons to `path`, a zarr group's folder or the zarr.json in it.

    All are of folded weights (`weights.folded`).
    Values are in the raw convention, `sign` says what the refactored one flips. Needs memory for a few layers' MLP
    weights as float32 and for the results (600 bytes a neuron). reach: see `nearest`. say: told of the progress.
    """
    rows, start = FoldedRows(WeightRows(spec)), time.monotonic()
    reach = affordable_reach(spec) if reach is None else reach
    layers = []
    for layer in range(spec.n_layers):
        layers.append(layer_weights(rows, layer))
        say(f"layer {layer}: vectors and tokens, {time.monotonic() - start:.0f} s")
    _add_nearest(layers, rows, reach, lambda n: say(f"layer {n}: nearest neurons, {time.monotonic() - start:.0f} s"))
    about = {
        "model": spec.model,
        "model_revision": spec.revision,
        "convention": "raw",
        "folded": sorted({norm.kind for norm in spec.norms} or {"none"}),
        "nearest_reach": spec.n_layers - 1 if reach is None else reach,
        "versions": versions("numpy", "numba", "zarr"),
    }
    write_weights(path, layers, random_quantiles(spec.d_model), about | (attributes or {}))


def layer_weights(rows: FoldedRows, layer: int) -> LayerWeights:
    """The statistics of one layer, its nearest neurons still unfilled; one MLP of it in memory at a time."""
    size, neurons = rows.spec.size, rows.spec.size.layers[layer]
    chosen = evenly(neurons.count)
    parts, kept = [], []
    routers = {f"E{expert}": row for expert, row in enumerate(rows.router(layer))} if neurons.experts else {}
    for stretch in neurons.stretches():
        vectors = {
            Vector.GATE: rows.gate_matrix(layer, stretch.expert),
            Vector.IN: rows.in_matrix(layer, stretch.expert),
            Vector.OUT: np.ascontiguousarray(rows.out_matrix(layer, stretch.expert)),
        }
        parts.append(_mlp_weights(rows, layer, vectors, routers.get(stretch.expert)))
        here = chosen[(chosen >= stretch.begin) & (chosen < stretch.end)] - stretch.begin
        kept.append({vector: matrix[here] for vector, matrix in vectors.items()})
    whole = joined(parts) if len(parts) > 1 else parts[0]
    sample = {vector: np.concatenate([part[vector] for part in kept]) for vector in Vector}
    whole.norm_quantile = quantiles(whole.norm)
    whole.chance = mismatched(sample, whole.norm[chosen], whole.sign[chosen])
    if neurons.experts == 0 and size.has_experts:
        whole.router_cosine = np.full(whole.norm.shape, np.nan, np.float32)
    return widened(whole, size.widest)


def _mlp_weights(
    rows: FoldedRows, layer: int, vectors: dict[Vector, np.ndarray], router: np.ndarray | None
) -> LayerWeights:
    """Of one MLP; what needs the whole layer is unfilled. router: the expert's row, float32 [d_model]."""
    product = products(*vectors.values())
    cosine, norm, sign = cosines(product), norms(product), sign_from(product)
    token_id, token_score = token_scores(rows, layer, vectors)
    unfilled = np.full((len(sign), NEAREST), -1, np.int32)
    to_router = None
    if rows.spec.mixture is not None:
        to_router = np.full(norm.shape, np.nan, np.float32)
        if router is not None:
            to_router = np.stack([_cosine(matrix, router) for matrix in vectors.values()], axis=1)
    return LayerWeights(
        cosine=cosine,
        norm=norm,
        norm_quantile=np.full(norm.shape, np.nan, np.float32),
        sign=sign,
        rw_class=rw_classes(*(cosine[:, kind.index] for kind in COSINES)),
        token_id=token_id,
        token_score=token_score,
        nearest_layer=unfilled,
        nearest_neuron=unfilled,
        nearest_cosine=np.full(unfilled.shape, np.nan, np.float32),
        nearest_sign=np.ones(unfilled.shape, np.int8),
        chance=np.full((len(CONVENTIONS), len(COSINES), len(QUANTILES)), np.nan, np.float32),
        router_cosine=to_router,
    )


def _cosine(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """float32 [neuron]; 0 where one of the two is 0."""
    product = np.einsum("nd,d->n", matrix, vector, dtype=np.float64)
    length = np.sqrt(np.einsum("nd,nd->n", matrix, matrix, dtype=np.float64)) * np.linalg.norm(
        vector.astype(np.float64)
    )
    return np.asarray(np.divide(product, length, out=np.zeros(len(matrix)), where=length > 0), np.float32)


def _add_nearest(layers: list[LayerWeights], rows: FoldedRows, reach: int | None, told: Callable[[int], None]) -> None:
    ids, cosine = nearest(rows, reach, told)
    sign = np.concatenate([layer.sign for layer in layers])
    for number, layer in enumerate(layers):
        found = ids[number] >= 0
        width = rows.spec.size.widest
        layer.nearest_layer, layer.nearest_neuron = (
            np.where(found, part, -1).astype(np.int32) for part in np.divmod(ids[number], width)
        )
        layer.nearest_cosine = cosine[number]
        layer.nearest_sign = np.where(found, sign[ids[number]], 1).astype(np.int8)

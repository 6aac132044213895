"""The weights stage: every neuron of a model, layer by layer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.provenance import versions
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.weights.chance import mismatched, random_quantiles
from gluscope.weights.classes import rw_classes
from gluscope.weights.file import write_weights
from gluscope.weights.folded import FoldedRows
from gluscope.weights.nearest import nearest
from gluscope.weights.products import cosines, norms, products, quantiles, sign_from
from gluscope.weights.tokens import token_scores
from gluscope.weights.types import COSINES, NEAREST, LayerWeights, Vector


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
    """The statistics of one layer, its nearest neurons still unfilled."""
    vectors = {
        Vector.GATE: rows.gate_matrix(layer),
        Vector.IN: rows.in_matrix(layer),
        Vector.OUT: np.ascontiguousarray(rows.out_matrix(layer)),
    }
    product = products(*vectors.values())
    cosine, norm, sign = cosines(product), norms(product), sign_from(product)
    token_id, token_score = token_scores(rows, layer, vectors)
    unfilled = np.full((len(sign), NEAREST), -1, np.int32)
    return LayerWeights(
        cosine=cosine,
        norm=norm,
        norm_quantile=quantiles(norm),
        sign=sign,
        rw_class=rw_classes(*(cosine[:, kind.index] for kind in COSINES)),
        token_id=token_id,
        token_score=token_score,
        nearest_layer=unfilled,
        nearest_neuron=unfilled,
        nearest_cosine=np.full(unfilled.shape, np.nan, np.float32),
        nearest_sign=np.ones(unfilled.shape, np.int8),
        chance=mismatched(vectors, norm, sign),
    )


def _add_nearest(layers: list[LayerWeights], rows: FoldedRows, reach: int | None, told: Callable[[int], None]) -> None:
    ids, cosine = nearest(rows, reach, told)
    sign = np.concatenate([layer.sign for layer in layers])
    for number, layer in enumerate(layers):
        found = ids[number] >= 0
        layer.nearest_layer, layer.nearest_neuron = (
            np.where(found, part, -1).astype(np.int32) for part in np.divmod(ids[number], rows.spec.d_mlp)
        )
        layer.nearest_cosine = cosine[number]
        layer.nearest_sign = np.where(found, sign[ids[number]], 1).astype(np.int8)

"""Tokens that a neuron's weights read and write, straight through the embedding and unembedding matrices.

- Read, w_gate and w_in: score = sqrt(d_model) * cos(w, e) * |w| for the folded w (`weights.folded`) and a token's
  embedding e (its row of W_E; centred where the MLP's norm centres). That is the pre-activation, bias and eps apart, if
  the residual stream were e alone. Where no norm stands before the MLP, it is that of e scaled to mean square 1.
- Written, w_out: score = w_out . (row of W_U): what the token's logit gains with each unit of `post`, before the final
  norm's scale and gain, and before a norm behind the MLP.

An embedding of 0 scores 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gluscope.weights.folded import FoldedRows
from gluscope.weights.top import Rank, TopScores
from gluscope.weights.types import TOKENS, VECTORS, Vector

_ENDS = (Rank.HIGHEST, Rank.LOWEST)
_TOKEN_BLOCK, _NEURON_BLOCK = 4096, 4096  # scores held at a time: 64 MiB


def token_scores(rows: FoldedRows, layer: int, vectors: dict[Vector, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Ids int32 and scores float32 [neuron, vector, end, place] of the tokens at both ends; see LayerWeights.

    vectors: the layer's, float32 [neuron, d_model] each. Memory: a few blocks, whatever the size of the vocabulary.
    """
    neurons = len(vectors[Vector.GATE])
    lists = {(vector, end): TopScores(neurons, TOKENS, end) for vector in VECTORS for end in _ENDS}
    for reads, kinds in ((True, (Vector.GATE, Vector.IN)), (False, (Vector.OUT,))):
        for first_id, tokens in _token_blocks(rows, layer, reads):
            for begin in range(0, neurons, _NEURON_BLOCK):
                for kind in kinds:
                    scores = tokens @ vectors[kind][begin : begin + _NEURON_BLOCK].T
                    for end in _ENDS:
                        lists[kind, end].add_transposed(scores, begin, first_id)
    shape = (neurons, len(VECTORS), len(_ENDS), TOKENS)
    ids, scores = np.empty(shape, np.int32), np.empty(shape, np.float32)
    for (vector, end), found in lists.items():
        place = (slice(None), vector.index, _ENDS.index(end))
        ids[place], scores[place] = found.ids, found.scores
    return ids, scores


def _token_blocks(rows: FoldedRows, layer: int, reads: bool) -> Iterator[tuple[int, np.ndarray]]:
    """(first id, float32 [token, d_model]): embeddings as the layer's norm leaves them, or rows of W_U as they are."""
    for first in range(0, rows.spec.n_vocab, _TOKEN_BLOCK):
        part = slice(first, min(first + _TOKEN_BLOCK, rows.spec.n_vocab))
        yield first, rows.embed(layer, part) if reads else rows.rows.unembed(part)

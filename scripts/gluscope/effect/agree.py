"""How far what a neuron does is what its weights say. Imports numpy alone."""

from __future__ import annotations

import numpy as np

from gluscope.core.cases import CASES, Quantity
from gluscope.weights.types import TokenEnds


def agreement(
    mean: np.ndarray, token: np.ndarray, there: np.ndarray, written: TokenEnds
) -> tuple[np.ndarray, np.ndarray]:
    """`signs` and `overlap` of an Effect, float32 [scope, case, group].

    mean: [scope, case, group, vocab], the mean change of log-probabilities. token: its tokens moved most. there: bool
    [case, group], whether there are examples. written: tokens that w_out writes; where a case's post is negative, the
    weights promise that those at the top are lowered.
    """
    signs, overlap = (np.full(mean.shape[:3], np.nan, np.float32) for _ in range(2))
    ends = [np.array([one.token for one in end], np.int64) for end in (written.top, written.bottom)]
    for scope, case, group in np.argwhere(np.broadcast_to(there, mean.shape[:3])):
        values = mean[scope, case, group]
        if not values.any() or not len(ends[0]):
            continue
        up, down = ends if CASES[case].sign(Quantity.POST) > 0 else ends[::-1]
        moved = values - values.mean()
        kept = np.concatenate([moved[up] > 0, moved[down] < 0])
        signs[scope, case, group] = kept.mean()
        among = [np.isin(end, token[scope, case, group, place]) for place, end in enumerate((up, down))]
        overlap[scope, case, group] = np.concatenate(among).mean()
    return signs, overlap

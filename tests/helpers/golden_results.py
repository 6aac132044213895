"""What stages gave on a tiny model when a version was decided: golden results guard "the results are the same".

tests/golden/results.npz is of the room of tests/workflow/test_whole.py. Where results change on purpose, raise the
version of the stage (`make stages`) and make the file anew: python tests/golden/make_results.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import DatasetPaths, RunPaths
from gluscope.core.precision import UNIT_ROUNDOFF
from gluscope.dataset.plan import Plan
from gluscope.dataset.reader import TokenDataset
from gluscope.recompute.types import Recomputed
from gluscope.summary.file import SummaryReader
from gluscope.weights.file import WeightsReader
from helpers.checkout import REPO

GOLDEN = REPO / "tests/golden/results.npz"
RUN, DATASET = RunPaths("mine"), DatasetPaths("mine-texts")
_SUMMARY = ("count", "sum", "extreme_value", "extreme_example", "extreme_position", "sample_gate", "sample_in")
_WEIGHTS = ("cosine", "norm", "sign", "rw_class", "token_id", "token_score", "nearest_neuron", "nearest_cosine")


def collect(folder: Path) -> dict[str, np.ndarray]:
    """Results of the run `mine` in a user's folder, by stage and name, of every layer where there are layers."""
    data = TokenDataset.open((folder / DATASET.tokens).parent)
    summary = SummaryReader(folder / RUN.summary)
    found = {
        "tokenise ids": np.concatenate([data.input_ids(row) for row in range(len(data))]),
        "tokenise lengths": data.lengths,
        "plan_shards rows": np.array([(one.start, one.stop) for one in Plan.read(folder / RUN.plan).shards]),
        "scan sample": np.stack([summary.sample().example, summary.sample().position]),
    }
    filled = len(data)  # a list holds a text once
    for layer in range(summary.n_layers):
        whole, weights = summary.layer(layer), WeightsReader(folder / RUN.weights).layer(layer)
        tied = _tied(whole.extreme_value)
        whole.extreme_example[tied] = whole.extreme_position[tied] = -2
        for name in _SUMMARY:
            values = getattr(whole, name)
            values = values[..., :filled] if name.startswith("extreme") else values
            found[f"merge {name} {layer}"] = values[:, :8] if name.startswith("sample") else values
        for name in _WEIGHTS:
            found[f"weights {name} {layer}"] = getattr(weights, name)
    for layer, neuron in ((0, 3), (1, 7)):
        values = Recomputed.read(folder / RUN.neuron(NeuronId(layer, neuron)))
        for name in ("rows", "gate", "in_"):
            found[f"recompute {name} {layer}"] = getattr(values, name)
    return found


def _tied(value: np.ndarray) -> np.ndarray:
    """Places of lists whose neighbour has nearly the same value: another machine's rounding may turn them round."""
    size = np.abs(np.nan_to_num(value))
    close = np.abs(np.diff(size, axis=-1)) <= 1e-5 * size.max()
    tied = np.zeros(value.shape, bool)
    tied[..., :-1] |= close
    tied[..., 1:] |= close
    return tied


def differences(found: dict[str, np.ndarray]) -> list[str]:
    """In words, what differs from the golden results by more than the rounding of another machine's float32."""
    told = []
    with np.load(GOLDEN) as golden:
        for name in sorted(found.keys() | set(golden.files)):
            if name not in found or name not in golden.files:
                told.append(f"{name}: only on one side")
                continue
            left, right = golden[name], found[name]
            if left.shape != right.shape:
                told.append(f"{name}: shape {left.shape} before, {right.shape} now")
            elif np.issubdtype(left.dtype, np.floating):
                scale = float(np.nanmax(np.abs(left), initial=0.0))
                bound = 2e-3 if left.dtype == np.float16 else 1e-5
                apart = ~np.isclose(left, right, rtol=bound, atol=bound * scale, equal_nan=True)
                if name.startswith("recompute") and apart.mean() < 0.05:
                    # The cache has x in float16. Where another machine's float32 rounds one of its coordinates the
                    # other way, the values of that token move by a step of float16; so it is with few tokens.
                    apart &= np.abs(left - right) > 2 * UNIT_ROUNDOFF["float16"] * scale
                if apart.any():
                    told.append(f"{name}: up to {np.nanmax(np.abs(left - right)):.3g} of {scale:.3g}")
            elif not np.array_equal(left, right):
                told.append(f"{name}: {int((left != right).sum())} of {left.size} entries")
    return told

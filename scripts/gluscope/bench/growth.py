"""How the reduction's cost falls with the number of texts: early on most texts enter some list, later few do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from gluscope.bench.forward import K
from gluscope.bench.shapes import Shape, lengths_of_texts
from gluscope.bench.timing import Laps, wait_for
from gluscope.scan.reduce import make_reducer

STEPS = (16, 64, 256, 1024)


@dataclass(frozen=True)
class Growth:
    """until: texts. nanoseconds: of the reduction a token and neuron, from the step before to there."""

    shape: Shape
    until: list[int]
    nanoseconds: list[float]
    average: list[float]


@torch.inference_mode()
def growth(
    shape: Shape, device: str, dtype: torch.dtype, steps: tuple[int, ...] = STEPS, most_seconds: float = 40.0
) -> Growth:
    """One layer, its matrices and activation computed for every text, so that the processor's caches are as in a scan.

    Texts are of random x, as a norm leaves it; no more of them than go by in `most_seconds`.
    """
    place = torch.device(device)
    rng = np.random.default_rng(4)
    random = torch.Generator(place).manual_seed(4)
    gate_w, in_w = (
        (torch.randn(shape.d_model, shape.d_mlp, device=place, generator=random) * 0.02).to(dtype) for _ in range(2)
    )
    lengths = lengths_of_texts(rng, 8 * 1024 * steps[-1])[: steps[-1]]
    warm, reducer = (make_reducer(1, shape.d_mlp, K, place.type) for _ in range(2))
    laps, begin = Laps(place), time.monotonic()
    groups: list[np.ndarray] = []
    group = 32 if place.type == "cuda" else 1  # texts at once, as in a scan's batches
    for first in range(0, len(lengths), group):
        some = lengths[first : first + group]
        rows = np.arange(first, first + len(some))
        x = torch.randn(int(some.sum()), shape.d_model, device=place, generator=random).to(dtype)
        gate, in_ = x @ gate_w, x @ in_w
        act = torch.nn.functional.silu(gate)
        values = gate, in_, act, act * in_
        if first == 0:
            warm.update(0, rows, some, *values)  # compiles
            wait_for(place)
        laps.run(partial(reducer.update, 0, rows, some, *values))
        groups.append(rows)
        if time.monotonic() - begin > most_seconds:
            break
    lengths = lengths[: groups[-1][-1] + 1]
    taken = np.zeros(len(lengths))
    for rows, seconds in zip(groups, laps.seconds(), strict=True):
        taken[rows] = seconds / lengths[rows].sum()
    ends = sorted({min(step, len(lengths)) for step in steps})
    parts = [slice(low, high) for low, high in zip([0, *ends], ends, strict=False)]
    scale = 1e9 / shape.d_mlp
    # The median text's cost a token stands for its step: others use this machine too.
    each = [float(np.median(taken[part])) * scale for part in parts]
    counts = [part.stop - part.start for part in parts]
    average = [float(np.dot(each[: i + 1], counts[: i + 1]) / ends[i]) for i in range(len(ends))]
    return Growth(shape, ends, each, average)

"""The least that a scan can take: operations and bytes over what a machine can do, measured or on paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from gluscope.bench.shapes import SHAPES, Shape
from gluscope.bench.timing import Laps

TENSORS = 4  # gate, in, act and post: what a reduction has to read once
PAPER_TOKENS = 20_000_000
DISK = 3e9  # bytes/s that a scratch file system may take from one job
PRODUCT_TOKENS = {"cpu": 512, "cuda": 8192}  # of the product that `measured` times
USED = 0.45  # share of the data sheet's operations that a forward pass with long batches commonly reaches


@dataclass(frozen=True)
class Machine:
    """flops: operations/s of matrix products. bytes: bytes/s read and written, together."""

    name: str
    flops: float
    bytes: float


# Data sheets: dense bfloat16 with float32 sums, and memory, of the SXM modules with 80 GB.
PAPER = (Machine("A100", 312e12, 2.04e12), Machine("H100", 989e12, 3.35e12))


@dataclass(frozen=True)
class Floor:
    """Of one token. pass_: seconds of its matrix products. reduction: seconds to read the four tensors once.

    cache: bytes written.
    """

    shape: Shape
    pass_: float
    reduction: float
    cache: int

    @property
    def share(self) -> float:
        return self.reduction / self.pass_


def floor(shape: Shape, machine: Machine, itemsize: int, used: float = 1.0) -> Floor:
    """itemsize: bytes of a number in the forward pass."""
    read = TENSORS * shape.d_mlp * shape.n_layers * itemsize
    flops = shape.flop_per_token / (machine.flops * used)
    return Floor(shape, flops, read / machine.bytes, 2 * shape.d_model * shape.n_layers)


@torch.inference_mode()
def measured(shape: Shape, device: str, dtype: torch.dtype, repeats: int = 20) -> Machine:
    """What this machine does at its best: a product as in the shape's MLP, and a copy of a large tensor."""
    place = torch.device(device)
    tokens = PRODUCT_TOKENS[place.type]
    x = torch.randn(tokens, shape.d_model, device=place, dtype=dtype)
    w = torch.randn(shape.d_mlp, shape.d_model, device=place, dtype=dtype)
    big = torch.empty(1 << (28 if place.type == "cuda" else 26), dtype=torch.uint8, device=place)
    other = torch.zeros_like(big)
    product: Callable[[], object] = partial(torch.nn.functional.linear, x, w)
    flop = 2 * tokens * shape.d_model * shape.d_mlp
    copy: Callable[[], object] = partial(big.copy_, other)
    best, copied = (_best(work, place, repeats) for work in (product, copy))
    return Machine("this machine", flop / best, 2 * len(big) / copied)


def _best(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    laps = Laps(device)
    for _ in range(repeats + 1):  # the first is slow, and is never the best
        laps.run(work)
    return min(laps.seconds())


def data_sheet(name: str) -> Machine | None:
    """Of a GPU with this name, if it is one of `PAPER`."""
    return next((machine for machine in PAPER if machine.name in name), None)


@dataclass(frozen=True)
class Estimate:
    """A scan of PAPER_TOKENS on one GPU. hours: of the passes. terabytes: the cache. write_hours: at DISK."""

    machine: str
    shape: Shape
    hours: float
    reduction: float
    terabytes: float
    write_hours: float

    @property
    def scan_hours(self) -> float:
        """Without a cache."""
        return self.hours * (1 + self.reduction)

    @property
    def cache_hours(self) -> float:
        """With one: what takes longer of the two that go on at the same time."""
        return max(self.scan_hours, self.write_hours)

    @property
    def replay_hours(self) -> float:
        """Without a cache, and then a second pass over all texts: the most that a replay can take."""
        return self.scan_hours + self.hours

    @property
    def limit(self) -> str:
        """What the scan waits for with a cache."""
        return "writing" if self.write_hours > self.scan_hours else "the forward pass"


def on_paper() -> list[Estimate]:
    """The two models that are scanned most, on two GPUs."""
    found = []
    for shape in (SHAPES["olmo-7b"], SHAPES["llama-3.1-8b"]):
        for machine in PAPER:
            one = floor(shape, machine, 2, USED)
            written = one.cache * PAPER_TOKENS
            hours = one.pass_ * PAPER_TOKENS / 3600
            found.append(Estimate(machine.name, shape, hours, one.share, written / 1e12, written / DISK / 3600))
    return found

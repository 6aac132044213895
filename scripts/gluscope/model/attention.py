"""Which of torch's attention kernels a forward pass uses on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_plans() -> Iterator[None]:
    """Leave out cuDNN's attention, which torch prefers on an H100; what the process had set returns afterwards.

    cuDNN makes a plan for every new shape, and batches of texts are nearly all new shapes: on an H100 33 ms each, a
    quarter of a pass, where the flash kernel takes 3. Its kernel is faster, but that brings 1 % of a pass.
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)

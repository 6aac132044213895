"""Running out of memory: how the many parts of a GPU's software say it, and what is done to have some again."""

from __future__ import annotations

import torch

# torch has an error class for its own allocator alone. The rest are plain RuntimeErrors: of the driver, which pins the
# host's memory and loads kernels ("CUDA error: out of memory", "Triton Error [CUDA]: out of memory"), of libraries
# that find no room for their workspace, and of the CPU's allocator.
_SAID = (
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "cudaErrorMemoryAllocation",
    "can't allocate memory",
    "not enough memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)


def free_memory() -> None:
    """Give back what torch keeps for later: others, such as cuBLAS, cannot have it."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        pinned = getattr(torch._C, "_host_emptyCache", None)
        if pinned is not None:
            pinned()

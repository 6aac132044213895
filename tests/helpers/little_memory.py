"""An allocator that runs out at a chosen moment."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class RunsOut(TorchDispatchMode):
    """Every operation of torch that needs memory works until number `at` of them, which finds none. met: that it came
    so far."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left, self.met = at, False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if self.needs_memory(function, out):
            if self.left == 0:
                self.met = True
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.left -= 1
        return out

    @staticmethod
    def needs_memory(function: Any, out: Any) -> bool:
        """Views, and results in an argument, need none."""
        results = function._schema.returns
        return isinstance(out, torch.Tensor) and all(result.alias_info is None for result in results)

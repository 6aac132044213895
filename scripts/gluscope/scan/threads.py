"""Running compiled code on the threads that torch has: a second pool beside them would fight for the same cores."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_ON_ALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)


class Threads:
    """Calls a C function `void f(void *data)` once on each of `torch.get_num_threads()` threads.

    Torch's OpenMP threads wait for work by spinning for a while, which would cost others their time. So they are used
    themselves, through the function that compilers call for a parallel region (GOMP_parallel, in GNU's and LLVM's
    OpenMP). Where torch has none, as on macOS, Python threads do it.
    """

    def __init__(self, openmp: bool = True) -> None:
        self._openmp = _find_openmp() if openmp else None
        self._pool: ThreadPoolExecutor | None = None

    def run(self, function: int, data: int) -> None:
        """function, data: addresses. Returns when all calls have returned. The function must divide the work itself."""
        count = torch.get_num_threads()
        call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)
        if count == 1:
            call(data)
        elif self._openmp is not None:
            self._openmp(function, data, count, 0)
        else:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(count - 1, "reduce")
            others = [self._pool.submit(call, data) for _ in range(count - 1)]
            call(data)
            for other in others:
                other.result()


def _find_openmp() -> Callable[[int, int, int, int], None] | None:
    """GOMP_parallel(function, data, threads, flags) of the OpenMP library that torch itself was linked with."""
    try:
        # Looked up among torch's own libraries: another OpenMP in the process has other threads.
        return _ON_ALL(ctypes.cast(ctypes.CDLL(torch._C.__file__).GOMP_parallel, ctypes.c_void_p).value or 0)
    except (OSError, AttributeError):
        return None

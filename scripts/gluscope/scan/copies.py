"""Device tensors to functions on the host, while the device goes on computing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch

Use = Callable[[np.ndarray], object]


@dataclass(frozen=True)
class Begun:
    """A tensor on its way to the host. arrived: None where it is there already."""

    values: torch.Tensor
    arrived: torch.cuda.Event | None


class HostCopies:
    """Calls `use(array)` for each `put(tensor, use)`, in that order, with the tensor's values as numpy's.

    Tensors of a CPU are used at once. Those of a GPU are copied into pinned memory on a stream of their own, and a
    thread uses them when they have arrived; `put` waits only while `depth` of them are on their way.
    What `use` raises comes out of a later `put` or of `close`; nothing is used after that.

    `put` is `begin`, which takes all the memory that is needed, and then `use`, which takes none.

    bfloat16, which numpy lacks, arrives as its bits in uint16.
    """

    def __init__(self, depth: int = 8) -> None:
        self._arriving: queue.Queue[tuple[Begun, Use] | None] = queue.Queue(depth)
        self._thread: threading.Thread | None = None
        self._streams: dict[torch.device, torch.cuda.Stream] = {}
        self._error: BaseException | None = None

    def put(self, tensor: torch.Tensor, use: Use) -> None:
        self.use(self.begin(tensor), use)

    def begin(self, tensor: torch.Tensor) -> Begun:
        """Start a copy. Do not change the tensor after this call: the copy waits for the device's work so far, and
        later work does not wait for the copy. Letting go of the tensor, or of what is returned, is safe."""
        return Begun(tensor, None) if tensor.device.type == "cpu" else self._copy(tensor)

    def use(self, begun: Begun, use: Use) -> None:
        """Call `use` with the values when they have arrived, after all that were given before."""
        if begun.arrived is None:
            use(_numpy(begun.values))
            return
        self._raise()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="host copies", daemon=True)
            self._thread.start()
        self._arriving.put((begun, use))

    def close(self) -> None:
        """Wait until everything has been used."""
        self._stop()
        self._raise()

    def __enter__(self) -> HostCopies:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """After an error nothing more is used."""
        if kind is None:
            self.close()
        else:
            self._error = self._error or error
            self._stop()

    def _copy(self, tensor: torch.Tensor) -> Begun:
        device = tensor.device
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream(device)
        stream = self._streams[device]
        stream.wait_stream(torch.cuda.current_stream(device))
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        with torch.cuda.stream(stream):
            pinned.copy_(tensor, non_blocking=True)
            arrived = torch.cuda.Event(blocking=True)  # the thread that waits sleeps; it would spin on a core
            arrived.record(stream)
        # The caching allocator must not give this memory away before the copy is done.
        tensor.record_stream(stream)
        return Begun(pinned, arrived)

    def _work(self) -> None:
        while (item := self._arriving.get()) is not None:
            if self._error is not None:
                continue
            begun, use = item
            try:
                if begun.arrived is not None:
                    begun.arrived.synchronize()
                use(_numpy(begun.values))
            except BaseException as error:  # it is raised in the thread that scans
                self._error = error

    def _stop(self) -> None:
        if self._thread is not None:
            self._arriving.put(None)
            self._thread.join()
            self._thread = None

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def _numpy(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach()
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()

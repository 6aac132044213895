"""One thread that does a live site's work, what people wait for first, and nothing twice at the same time."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

SOON, LATER = 0, 1


class Busy(Exception):
    """There is more to do than may wait."""


@dataclass
class _Work:
    """then: what is done with the result once it has been handed out."""

    do: Callable[[], Any]
    then: Callable[[Any], object] | None
    result: Future[Any] = field(default_factory=Future)


class Workshop:
    """most: how many pieces of work may wait.

    >>> shop = Workshop(most=64)
    >>> shop.ask("six by seven", lambda: 6 * 7).result()
    42
    >>> shop.close()
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._works: dict[Hashable, _Work] = {}
        self._queue: list[tuple[int, int, Hashable]] = []
        self._count, self._closed = 0, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="workshop", daemon=True)
        self._thread.start()

    def ask(
        self,
        key: Hashable,
        do: Callable[[], Any],
        *,
        then: Callable[[Any], object] | None = None,
        when: int = SOON,
    ) -> Future[Any]:
        """The result of `do`, or of what is under way under the same key. Raises Busy.

        when: LATER for what nobody waits for; asked again with SOON it comes sooner. An exception of `then` is lost.
        """
        with self._changed:
            work = self._works.get(key)
            if work is None:
                if self._closed or len(self._works) >= self._most:
                    raise Busy
                work = self._works[key] = _Work(do, then)
            self._count += 1
            heapq.heappush(self._queue, (when, self._count, key))
            self._changed.notify()
            return work.result

    @property
    def waiting(self) -> int:
        """Pieces of work that are not done."""
        return len(self._works)

    def close(self) -> None:
        """What waits is dropped, what is under way ends."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for work in self._works.values():
            work.result.cancel()

    def _work(self) -> None:
        while (key := self._next()) is not None:
            work = self._works[key]
            if work.result.set_running_or_notify_cancel():
                self._do(work)
            with self._changed:
                del self._works[key]

    def _next(self) -> Hashable | None:
        with self._changed:
            while not self._closed:
                while self._queue:
                    _, _, key = heapq.heappop(self._queue)
                    if key in self._works:  # once for each time that it was asked for
                        return key
                self._changed.wait()
        return None

    @staticmethod
    def _do(work: _Work) -> None:
        try:
            result = work.do()
        except BaseException as error:
            work.result.set_exception(error)
            return
        work.result.set_result(result)
        if work.then is not None:
            with suppress(Exception):
                work.then(result)

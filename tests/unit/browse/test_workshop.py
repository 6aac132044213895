"""One thread's work: once at a time, in order of who waits, bounded, and ended in good order."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest
from gluscope.browse.workshop import LATER, SOON, Busy, Workshop

LONG = 20


class Gate:
    """Work that waits until it is let through."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.open.wait(LONG)
        return "through"


def test_the_same_is_done_once_however_many_ask() -> None:
    shop, gate, count = Workshop(8), Gate(), []
    first = shop.ask("gate", gate)
    asked = [shop.ask("page", lambda: count.append(1) or len(count)) for _ in range(8)]
    gate.open.set()
    assert first.result(LONG) == "through"
    assert [one.result(LONG) for one in asked] == [1] * 8
    assert len(count) == 1
    shop.close()


def test_what_people_wait_for_comes_first_also_when_it_was_asked_for_later() -> None:
    shop, gate, order = Workshop(8), Gate(), []
    shop.ask("gate", gate)
    assert gate.begun.wait(LONG)
    works = {key: shop.ask(key, lambda key=key: order.append(key), when=LATER) for key in "abc"}
    works["d"] = shop.ask("d", lambda: order.append("d"))
    shop.ask("c", lambda: order.append("again"), when=SOON)
    gate.open.set()
    for work in works.values():
        work.result(LONG)
    assert order == ["d", "c", "a", "b"]
    shop.close()


def test_only_so_much_may_wait() -> None:
    shop, gate = Workshop(2), Gate()
    shop.ask("gate", gate)
    shop.ask("one", lambda: 1)
    shop.ask("one", lambda: 1)
    with pytest.raises(Busy):
        shop.ask("two", lambda: 2)
    gate.open.set()
    shop.close()


def test_a_fault_reaches_all_who_asked_and_the_next_try_begins_anew() -> None:
    shop = Workshop(8)
    with pytest.raises(ZeroDivisionError):
        shop.ask("page", lambda: 1 / 0).result(LONG)
    while shop.waiting:
        pass
    assert shop.ask("page", lambda: 2).result(LONG) == 2
    assert shop.ask("kept", lambda: 3, then=lambda _: 1 / 0).result(LONG) == 3
    assert shop.ask("other", lambda: 4).result(LONG) == 4
    shop.close()


def test_at_the_end_what_is_under_way_ends_with_what_follows_and_the_rest_is_dropped() -> None:
    shop, gate, kept = Workshop(8), Gate(), []
    first = shop.ask("gate", gate, then=kept.append)
    second = shop.ask("second", lambda: 2)
    assert gate.begun.wait(LONG)
    threading.Timer(0.1, gate.open.set).start()
    shop.close()
    assert (first.result(0), kept) == ("through", ["through"])
    with pytest.raises(CancelledError):
        second.result(0)
    with pytest.raises(Busy):
        shop.ask("third", lambda: 3)

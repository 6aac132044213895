"""Jobs that SLURM has forgotten are ended; jobs that are only slow to show are waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import snakemake_executor_plugin_slurm as plugin
from gluscope.workflow import watchdog
from gluscope.workflow.watchdog import Watch


class Queue:
    """SLURM as the watch sees it. `listed`: None while it does not answer."""

    def __init__(self, listed: dict[str, str] | None = None, accounted: str | None = None) -> None:
        self.listed, self.accounted, self.now = listed, accounted, 0.0
        self.watch = Watch(lambda: self.listed, lambda job: self.accounted, 300, lambda: self.now)

    def after(self, seconds: float, *jobs: str, requeued: bool = False) -> dict[str, str]:
        self.now += seconds
        return self.watch.gone(jobs or ("17",), requeued)


def test_gone_only_after_a_while_of_answers() -> None:
    queue = Queue({"18": "RUNNING"})
    assert queue.after(0, "17", "18") == {}
    assert queue.after(299, "17", "18") == {}
    queue.listed = None
    assert queue.after(1000, "17", "18") == {}, "SLURM does not answer"
    queue.listed = {"17": "RUNNING"}
    assert queue.after(1, "17") == {}
    queue.listed = {}
    assert queue.after(0, "17") == {}, "counted from when it was last listed"
    assert list(queue.after(300, "17")) == ["17"]
    assert "5 minutes" in queue.after(0, "17")["17"]


def test_a_queue_that_is_not_shown_is_not_one_that_is_empty() -> None:
    queue = Queue({}, accounted="RUNNING")
    queue.after(0)
    assert queue.after(9999) == {}, "alive by the accounts and never listed"
    queue.accounted = "COMPLETED"
    assert list(queue.after(0)) == ["17"]
    forgotten = Queue({"17": "RUNNING"}, accounted="RUNNING")
    forgotten.after(0)
    forgotten.listed = {}
    forgotten.after(0)
    assert list(forgotten.after(300)) == ["17"], "the controller had it and forgot it"


def test_tasks_of_an_array_are_listed_under_their_array() -> None:
    queue = Queue({"17": "PENDING"})
    queue.after(0, "17_3")
    assert queue.after(9999, "17_3") == {}


def test_a_preempted_job_is_waited_for_only_if_slurm_starts_it_again() -> None:
    assert Queue({"17": "PREEMPTED"}).after(0, requeued=True) == {}
    assert list(Queue({"17": "PREEMPTED"}).after(0)) == ["17"]


def test_the_functions_that_are_replaced_are_those_of_this_plugin() -> None:
    assert plugin.__name__ == watchdog.PLUGIN
    assert asyncio.iscoroutinefunction(plugin.query_job_status)
    assert callable(plugin.Executor.check_active_jobs)
    assert callable(plugin.get_min_job_age)


def run(once: Callable[[], Coroutine[Any, Any, list[str]]]) -> list[str]:
    """In a thread of its own: the tests' browser leaves an event loop running in the first one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(once())).result()


@pytest.mark.parametrize("there", [True, False])
def test_ends_what_is_gone(tmp_path: Path, there: bool) -> None:
    output = tmp_path / "out"
    if there:
        output.touch()
    jobs = [
        SimpleNamespace(
            external_jobid=number, aux={}, job=SimpleNamespace(output=[str(output)], resources={"clusters": where})
        )
        for number, where in (("17", None), ("18", None), ("19", "other"))
    ]
    ended: list[tuple[str, Any]] = []
    executor = SimpleNamespace(
        workflow=SimpleNamespace(executor_settings=SimpleNamespace(requeue=False)),
        logger=logging.getLogger("test"),
        report_job_success=lambda job: ended.append(("done", job)),
        report_job_error=lambda job, msg, aux_logs: ended.append(("failed", job)),
    )

    async def all_of_them(self: Any, active: list[Any]) -> AsyncIterator[Any]:
        for job in active:
            yield job

    queue = Queue({"18": "RUNNING"})
    check = watchdog._watched(all_of_them, queue.watch)

    async def once() -> list[str]:
        return [job.external_jobid async for job in check(executor, jobs)]

    assert run(once) == ["17", "18", "19"]
    queue.now = 301
    assert run(once) == ["18", "19"]
    assert ended == [("done" if there else "failed", jobs[0])]


def test_what_slurm_said_once_holds_while_it_is_away() -> None:
    answers = iter([None, 300, None])
    age = watchdog._first_answer(lambda: next(answers))
    first, second, third = age(), age(), age()
    assert (first or 0) > 10_000, "not known: the executor is not to turn to sacct"
    assert (second, third) == (300, 300)

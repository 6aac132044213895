"""What a start does first is done when Snakemake is about to run jobs, and by no call that only looks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from gluscope.workflow.hooks import around_jobs


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({"dryrun_exec": False, "touch_exec": False}, ["looked", "prepared", "executed", "done"]),
        ({"dryrun_exec": True, "touch_exec": False}, ["looked", "executed"]),
        ({"dryrun_exec": False, "touch_exec": True}, ["looked", "executed"]),
    ],
)
def test_only_before_jobs(kind: dict[str, bool], expected: list[str]) -> None:
    done: list[str] = []
    workflow = SimpleNamespace(execute=lambda executor_plugin, **others: done.append("executed") or others)
    around_jobs(
        workflow,
        look=lambda: done.append("looked"),
        prepare=lambda: done.append("prepared"),
        done=lambda well: done.append("done" if well else "failed"),
    )
    plugin = SimpleNamespace(common_settings=SimpleNamespace(**kind))
    assert done == []
    assert workflow.execute(executor_plugin=plugin, updated_files=None) == {"updated_files": None}
    assert done == expected

"""No bit of any file of a run can be turned over, and no file put in another's place, without a word."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gluscope.store import atomic
from helpers.tiny_run import TinyRun
from helpers.turned_bits import exchanged, table, turned

TRIALS = 16  # of each kind of file


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyRun]:
    """A tiny run in the working directory of these tests."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, "_sync", lambda path: None)  # a disk's time, and there is no power cut to be ready for
        run = TinyRun()
        run.make()
        yield run
    os.chdir(before)


def test_bits_are_named_or_harmless(run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(turned(run, TRIALS))
    with capsys.disabled():
        print(f"\n{table(rows)}")
    assert len(rows) == 24
    for kind, counts in rows:
        assert counts["named"] + counts["harmless"] == TRIALS, (kind, counts)
        assert counts["named"], kind


def test_a_file_in_anothers_place_is_named(run: TinyRun) -> None:
    assert {name: outcome for name, outcome in exchanged(run).items() if outcome != "named"} == {}

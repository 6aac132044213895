"""Of two jobs that make the same file the one that began last wins, whichever ends first."""

from __future__ import annotations

from pathlib import Path

import pytest
from gluscope.core.errors import StoreError
from gluscope.store.atomic import new_file, new_folder
from gluscope.workflow.claims import claimed


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    (tmp_path / ".snakemake").mkdir()
    return tmp_path / ".snakemake/claims"


def write(path: Path, text: str) -> None:
    with new_file(path) as part:
        part.write_text(text)


def write_folder(path: Path, text: str) -> None:
    with new_folder(path) as part:
        (part / "last").write_text(text)


@pytest.mark.parametrize("as_folder", [False, True])
def test_an_orphan_leaves_what_a_later_job_makes(tmp_path: Path, claims: Path, as_folder: bool) -> None:
    target = tmp_path / "results"
    written, last = (write_folder, target / "last") if as_folder else (write, target)
    orphan = claimed([str(last)], claims)
    orphan.__enter__()
    # The later job's look is its own: here both are in one process, so the orphan is out while it is asked.
    with pytest.raises(StoreError, match="this job to be the last"), claimed([str(last)], claims):
        written(target, "orphan")
    assert not target.exists()
    orphan.__exit__(None, None, None)


def test_the_later_job_has_ended(tmp_path: Path, claims: Path) -> None:
    target = tmp_path / "file"
    with claimed([str(target)], claims):
        for claim in claims.iterdir():
            claim.unlink()  # as the later one does when it ends
        target.write_text("of the later job")
        with pytest.raises(StoreError, match="began later and has ended"):
            write(target, "of the orphan")
    assert target.read_text() == "of the later job"
    assert list(tmp_path.glob("*.writing-*")) == []


def test_the_last_one_writes_and_leaves_no_claim(tmp_path: Path, claims: Path) -> None:
    with claimed([str(tmp_path / "file")], claims):
        write(tmp_path / "file", "whole")
        write(tmp_path / "beside", "whole")
    assert (tmp_path / "file").read_text() == "whole"
    assert list(claims.iterdir()) == []


def test_where_no_snakemake_runs_nobody_is_asked(tmp_path: Path) -> None:
    with claimed([str(tmp_path / "file")], tmp_path / "none/claims"):
        write(tmp_path / "file", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]

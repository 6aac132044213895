"""What a job notes as damaged goes at the next start; what has changed since stays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from gluscope.workflow.damaged import note, remove_noted
from gluscope.workflow.job import start
from gluscope.workflow.restart import make_good


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("results/r/scan/0000.zarr.zip", "results/r/cache/0001.zarr/zarr.json", "elsewhere/a"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("bytes")
    Path(".snakemake").mkdir()
    return tmp_path


def test_noted_stores_go_once(here: Path) -> None:
    note("results/r/scan/0000.zarr.zip", "one")
    note("results/r/cache/0001.zarr", "two")
    assert sorted(remove_noted()) == ["one", "two"]
    assert not Path("results/r/scan/0000.zarr.zip").exists()
    assert not Path("results/r/cache/0001.zarr").exists()
    assert remove_noted() == []


@pytest.mark.parametrize("store", ["elsewhere/a", "results/../elsewhere/a", "results/r/scan/gone"])
def test_only_results_are_removed(here: Path, store: str) -> None:
    note(store, "why") if Path(store).exists() else None
    assert remove_noted() == []
    assert Path("elsewhere/a").exists()


def test_what_was_made_anew_stays(here: Path) -> None:
    store = Path("results/r/scan/0000.zarr.zip")
    note(str(store), "why")
    store.write_text("other bytes")
    assert remove_noted() == []
    assert store.exists()


def test_where_another_start_runs_nothing_is_removed(here: Path) -> None:
    note("results/r/scan/0000.zarr.zip", "the shard is damaged")
    said: list[str] = []
    state, queue = Path(".snakemake"), lambda: None
    lock = state / "locks/0.output.lock"
    lock.parent.mkdir()
    lock.write_text("")
    make_good(said.append, state, queue)
    assert Path("results/r/scan/0000.zarr.zip").exists()
    lock.unlink()
    make_good(said.append, state, queue)
    assert said == ["the shard is damaged. Removed; it is made anew."]
    assert not Path("results/r/scan/0000.zarr.zip").exists()


def test_a_retry_refuses_what_is_noted_without_a_look(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also by a file within a noted folder; not once it was made anew."""
    note("results/r/cache/0001.zarr", "a chunk is damaged")
    smk = SimpleNamespace(
        log=[], threads=1, input=["results/r/scan/0000.zarr.zip", "results/r/cache/0001.zarr/zarr.json"]
    )
    for _ in range(2):
        with pytest.raises(SystemExit), start(smk):
            raise AssertionError("the work began")
        line = "error: a chunk is damaged. Next: run the same command again: only it is made anew.\n"
        assert capsys.readouterr().err == line
    with start(SimpleNamespace(log=[], threads=1, input=smk.input[:1])):
        pass
    Path(smk.input[1]).write_text("other bytes")
    with start(smk):
        pass

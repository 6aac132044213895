"""What a job notes as damaged goes at the next start; what has changed since stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gluscope.core.errors import GluscopeError, ShardMismatch, WrongFile
from gluscope.store.damage import to_redo
from gluscope.summary.file import SummaryReader, write_summary
from gluscope.workflow.damaged import note, remove_noted
from gluscope.workflow.job import start
from gluscope.workflow.restart import make_good
from helpers.damage import altered
from helpers.summaries import random_layer, random_sample


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


ONLY_IT = ". Next: run the same command again: only it is made anew.\n"
SECOND_LOOK = "a second look found it whole, so a disk or the memory may be failing.\n"
SHARD = Path("results/r/scan/0001.zarr.zip")


@pytest.fixture
def shard(here: Path) -> Path:
    """A whole store beside those that are none."""
    rng = np.random.default_rng(1)
    layers, sample = [random_layer(rng, 6, 3, 3, range(9))], random_sample(rng, 3, range(9))
    write_summary(SHARD, layers, n_layers=1, sample=sample, attributes={"shard": "0001"})
    return SHARD


def refusal(read: Callable[[Path], object], capsys: pytest.CaptureFixture[str]) -> str:
    """What a job says that reads the shard and refuses it."""
    smk = SimpleNamespace(log=[], threads=1, input=[str(SHARD)])
    with pytest.raises(SystemExit), start(smk):
        read(SHARD)
    return capsys.readouterr().err


def read_layer(shard: Path) -> None:
    SummaryReader(shard).layer(0)


def test_damage_that_is_on_the_disk_is_noted(shard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard.write_bytes(shard.read_bytes()[:-9])
    said = refusal(read_layer, capsys)
    assert said.startswith(f"error: {shard}: ")
    assert said.endswith(ONLY_IT)
    [why] = remove_noted()
    assert said == f"error: {why}{ONLY_IT}"
    assert not shard.exists()


def test_a_whole_store_without_an_array_that_is_asked_for(shard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(lambda path: SummaryReader(path).read("square_sum", 0), capsys)
    assert said.startswith(f"error: {shard}: square_sum: expected this part of it, found nothing there. ")
    assert said.endswith("whole without: other code made it, whose stage needs a new version (make stages).\n")
    assert not remove_noted()
    assert shard.exists()


def test_damage_that_a_second_look_does_not_find_is_not_noted(shard: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What came from the disk was not what is on it: the store is whole, and stays."""

    def read_once(shard: Path) -> None:
        with altered(shard, shard.read_bytes()[:-9]):
            read_layer(shard)

    said = refusal(read_once, capsys)
    assert said.startswith(f"error: {shard}: ")
    assert said.endswith(". Next: run the same command again: " + SECOND_LOOK)
    assert remove_noted() == []
    read_layer(shard)


@pytest.mark.parametrize("kind", [WrongFile, ShardMismatch])
def test_a_whole_file_that_does_not_belong_there_is_noted_all_the_same(
    shard: Path, kind: type[GluscopeError], capsys: pytest.CaptureFixture[str]
) -> None:
    """A look at its checksums would find it whole."""

    def refuse(shard: Path) -> None:
        raise to_redo(kind, shard, str(shard), "shard 0001", "shard 0002")

    said = refusal(refuse, capsys)
    assert said == f"error: {shard}: expected shard 0001, found shard 0002{ONLY_IT}"
    assert remove_noted() == [f"{shard}: expected shard 0001, found shard 0002"]
    assert not shard.exists()

"""Files and folders appear whole or not at all, whatever happens to their writers."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from gluscope.core.errors import StoreError
from gluscope.store.atomic import new_file, new_folder, remove_unfinished
from helpers.checkout import REPO

HOST = socket.gethostname()
DEAD = 2**22 + 1  # above any pid that Linux gives


def test_file_and_folder_get_their_names_at_the_end(tmp_path: Path) -> None:
    with new_file(tmp_path / "deep/a.txt") as path:
        path.write_text("new")
        assert not (tmp_path / "deep/a.txt").exists()
    with new_folder(tmp_path / "b") as path:
        (path / "x").write_text("new")
        assert not (tmp_path / "b").exists()
    assert (tmp_path / "deep/a.txt").read_text() == (tmp_path / "b/x").read_text() == "new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "b", "deep", "x"]


@pytest.mark.parametrize("make", [new_file, new_folder])
@pytest.mark.parametrize("there", [False, True])
def test_an_error_leaves_what_was_there(tmp_path: Path, make, there: bool) -> None:  # type: ignore[no-untyped-def]
    target = tmp_path / "it"
    if there:
        with make(target) as path:
            (path if make is new_file else path / "x").write_text("old")

    def fail() -> None:
        with make(target) as path:
            (path if make is new_file else path / "x").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == (["it"] if there else [])
    if there:
        assert (target if make is new_file else target / "x").read_text() == "old"


def test_a_folder_takes_the_place_of_an_empty_and_of_a_full_one(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()  # as Snakemake does before the job
    for name in ("one", "two"):
        with new_folder(tmp_path / "it") as path:
            (path / name).write_text("")
        assert [path.name for path in (tmp_path / "it").iterdir()] == [name]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_another_job_put_there_stays_if_it_is_as_good(tmp_path: Path) -> None:
    for good in (True, False):
        target = tmp_path / str(good)
        with new_folder(target, keep=lambda folder, good=good: good and (folder / "x").read_text() == "theirs") as path:
            (path / "x").write_text("ours")
            with new_folder(target) as theirs:
                (theirs / "x").write_text("theirs")
        assert (target / "x").read_text() == ("theirs" if good else "ours")
    assert len(list(tmp_path.iterdir())) == 2


def test_leftovers_of_dead_jobs_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    def left(target: str, host: str, process: int, age: float = 0) -> Path:
        path = tmp_path / f"{target}.writing-{host}-{process}-0a1b2c3d"
        path.mkdir()
        (path / "part").write_text("x")
        for part in (path / "part", path):
            os.utime(part, (time.time() - age,) * 2)
        return path

    dead, living = left("it[1]", HOST, DEAD), left("it[1]", HOST, os.getpid())
    young, old = left("it[1]", "other-host", 1), left("it[1]", "other-host", 2, 3e5)
    neighbour, strange = left("it", HOST, DEAD), tmp_path / "it[1].writing-x"
    strange.touch()
    with new_folder(tmp_path / "it[1]"):
        pass
    assert {path: path.exists() for path in (dead, living, young, old, neighbour, strange)} == {
        dead: False, living: True, young: True, old: False, neighbour: True, strange: True,
    }  # fmt: skip
    assert remove_unfinished(tmp_path) == sorted([living, young, neighbour, strange])
    assert [path.name for path in tmp_path.iterdir()] == ["it[1]"]


def test_growing_leftovers_of_another_host_stay(tmp_path: Path) -> None:
    path = tmp_path / "it.writing-other-1-0a1b2c3d"
    path.mkdir()
    (path / "part").write_text("x")  # now
    os.utime(path, (0, 0))
    with new_file(tmp_path / "it") as own:
        own.touch()
    assert path.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line(tmp_path: Path, code: int) -> None:
    with pytest.raises(StoreError, match=r"it: expected room to write it, found .*Next: free some") as caught:
        raise_in(tmp_path / "it", OSError(code, os.strerror(code)))
    assert "\n" not in str(caught.value)
    with pytest.raises(PermissionError):
        raise_in(tmp_path / "it", PermissionError(errno.EACCES, "no"))
    assert not list(tmp_path.iterdir())


def raise_in(target: Path, error: Exception) -> None:
    with new_folder(target):
        raise error


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from gluscope.store.atomic import new_file, new_folder
with new_folder(sys.argv[2] + "/folder") as folder, new_file(sys.argv[2] + "/file") as file:
    (folder / "x").write_text("half")
    file.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_killed_job_leaves_no_final_name_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(REPO / "scripts"), str(tmp_path)]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    assert job.stdout.readline() == "writing\n"
    job.send_signal(signal.SIGKILL)
    job.wait()
    job.stdout.close()
    assert sorted(path.name.partition(".")[0] for path in tmp_path.iterdir()) == ["file", "folder"]
    assert not (tmp_path / "file").exists()
    assert not (tmp_path / "folder").exists()
    with new_folder(tmp_path / "folder"), new_file(tmp_path / "file") as file:
        file.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_many_writers_of_one_folder(tmp_path: Path) -> None:
    """Each either puts its own in place or says that another did; whatever stands there is whole."""
    start, errors = threading.Barrier(6), []

    def write(number: int) -> None:
        start.wait()
        for _ in range(10):
            try:
                with new_folder(tmp_path / "it") as path:
                    for name in "ab":
                        (path / name).write_text(str(number))
            except StoreError as error:
                errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["it"]
    assert (tmp_path / "it/a").read_text() == (tmp_path / "it/b").read_text()
    assert len(errors) < 30

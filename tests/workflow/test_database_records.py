"""Snakemake's records in a database (`--persistence-backend db`): a run killed and begun again, and what others see."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from gluscope.workflow.marks import DATABASE, FileMarks, forget, in_database
from helpers.checkout import BIN, PATIENCE, REPO, user_environment
from helpers.killed import killed_under_way
from helpers.room import Room
from helpers.tiny_models import make

DB = ("--persistence-backend", "db")
NAMED = (*DB, "--persistence-backend-db-url", "sqlite:///records/own.db")
SLOW = 1000  # texts, so that a scan takes long enough to be killed in


def asked(database: Path, question: str, *values: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as known, known:
        return known.execute(question, values).fetchall()


def new_room(folder: Path, texts: int = SLOW) -> Room:
    folder.mkdir(exist_ok=True)
    room = Room(folder)
    make(folder=room.folder / "my-model")
    room.write_texts([f"the cat sat on mat {number} and {number + 1} dogs came by ." for number in range(texts)])
    room.write_config(shards=2)
    return room


@pytest.mark.parametrize("options", [DB, NAMED], ids=["usual", "named"])
def test_a_run_that_was_killed_goes_on(options: tuple[str, ...], tmp_path: Path) -> None:
    room = new_room(tmp_path / "room")
    (room.folder / "records").mkdir()
    database = room.folder / ("records/own.db" if options is NAMED else f".snakemake/{DATABASE}")
    typed = ["--snakefile", f"{REPO}/Snakefile", "--cores", "1", "--configfile", "mine.yaml", *options]
    first = room.folder / "results/mine/scan/0000.zarr.zip"
    assert room.snakemake("results/mine/scan/0000.zarr.zip", "--cores", "1", *options).returncode == 0
    killed_under_way(room.folder, typed, "results/mine/scan/0001*writing*")
    before = first.stat().st_mtime_ns
    assert asked(database, "SELECT COUNT(*) FROM snakemake_locks") != [(0,)]
    marked = "SELECT target FROM snakemake_metadata WHERE incomplete"
    assert ("results/mine/scan/0001.zarr.zip",) in asked(database, marked)
    # A job that outlived its Snakemake has finished its file meanwhile.
    question = "UPDATE snakemake_metadata SET incomplete = 1 WHERE target = ?"
    asked(database, question, "results/mine/scan/0000.zarr.zip")
    planned = room.snakemake("--dry-run", *options)
    assert asked(database, "SELECT COUNT(*) FROM snakemake_locks") != [(0,)], planned.stdout

    done = room.snakemake(*options, "--cores", "1")  # sums of one thread are the same each time
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "The last start ended without cleaning up; its locks are removed." in said
    assert "Kept 1 files that jobs of an earlier start finished." in said
    assert first.stat().st_mtime_ns == before
    assert asked(database, marked) == asked(database, "SELECT * FROM snakemake_locks") == []
    assert room.plan(*options) == {}
    room.write_config(shards=2, refactor_glu=True)
    assert room.plan(*options)["merge"] == 1
    room.write_config(shards=2)
    if options is NAMED:
        return
    other = new_room(tmp_path / "other")
    assert other.snakemake("--cores", "1").returncode == 0
    for file in sorted((other.folder / "results/mine").rglob("*.html")):
        assert (room.folder / file.relative_to(other.folder)).read_bytes() == file.read_bytes()
    saved = sum(path.is_file() for path in (other.folder / ".snakemake/metadata").rglob("*"))
    assert saved > 10
    assert not [path for path in (room.folder / ".snakemake/metadata").rglob("*") if path.is_file()]
    record = "SELECT COUNT(*) FROM snakemake_metadata"
    assert asked(database, record) == [(saved,)]


def test_a_live_start_keeps_its_locks(tmp_path: Path) -> None:
    room = new_room(tmp_path / "room")
    typed = ["--snakefile", f"{REPO}/Snakefile", "--cores", "1", "--configfile", "mine.yaml", *DB]
    started = subprocess.Popen(
        [str(BIN / "snakemake"), *typed],
        cwd=room.folder, env=user_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (room.folder / "results/mine/scan").exists():
        assert started.poll() is None
        time.sleep(0.01)
    done = room.snakemake(*DB)
    assert done.returncode == 1
    assert "LockException" in done.stdout + done.stderr
    assert started.wait(PATIENCE) == 0
    assert room.plan(*DB) == {}


def test_why_looks_where_the_last_call_kept_its_records(tmp_path: Path) -> None:
    room = new_room(tmp_path / "room", texts=20)
    assert not in_database(room.folder / ".snakemake")
    assert room.snakemake(*DB).returncode == 0
    assert in_database(room.folder / ".snakemake")

    def why() -> str:
        typed = [sys.executable, f"{REPO}/scripts/why.py", "all", "--configfile", "mine.yaml"]
        done = subprocess.run(
            typed,
            cwd=room.folder,
            env=user_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert why().startswith("Nothing would run")
    room.write_config(shards=2, k=3)
    assert "`k` of run mine is 3, was 16" in why()
    room.write_config(shards=2)
    # A page that a live site has made anew has no record of an earlier one.
    page, record = "results/mine/site/L0/N3.html", "SELECT COUNT(*) FROM snakemake_metadata WHERE target = ?"
    state = room.folder / ".snakemake"
    assert asked(state / DATABASE, record, page) == [(1,)]
    forget(page, state)
    assert asked(state / DATABASE, record, page) == [(0,)]
    assert FileMarks(state).unfinished() == []
    assert room.snakemake().returncode == 0
    (state / DATABASE).touch()
    os.utime(state / DATABASE, (0, 0))
    assert room.snakemake("--forcerun", "merge").returncode == 0
    assert not in_database(state)

"""Planning changes nothing: no call of Snakemake that runs no job writes or removes a file."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from gluscope.workflow.damaged import note
from gluscope.workflow.owners import Owner
from helpers.checkout import REPO, user_environment
from helpers.room import Room

# What each call writes because it was asked to: files in the user's folder, and Snakemake's own.
CALLS: dict[str, tuple[list[str], set[str]]] = {
    "-n": (["-n"], set()),
    "-nj1": (["-nj1"], set()),
    "--dry-run, by letters": (["-pnq"], set()),
    "--dry-run of a page": (["--dry-run", "results/mine/site/L0/N3.html"], set()),
    "a profile that says so": (["--profile", "looking"], set()),
    "--list": (["--list"], set()),
    "--list-target-rules": (["--list-target-rules"], set()),
    "--lint": (["--lint"], set()),
    "--report": (["--report", "report.html"], {"report.html"}),
    "--summary": (["--summary"], set()),
    "--detailed-summary": (["-D"], set()),
    "--dag": (["--dag"], set()),
    "--rulegraph": (["--rulegraph"], set()),
    "--filegraph": (["--filegraph"], set()),
    "--d3dag": (["--d3dag"], set()),
    "--list-input-changes": (["--list-input-changes"], set()),
    "--list-untracked": (["--list-untracked"], set()),
    "--print-compilation": (["--print-compilation"], set()),
    "--unlock": (["--unlock"], {".snakemake/locks/0.output.lock"}),
}
# Snakemake is imported once, and each call is a process of its own all the same.
_CALL = """
import json, os, sys
from snakemake.cli import main
for name, arguments in json.loads(sys.argv[1]):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        sys.stdout = sys.stderr = open(os.devnull, "w") if name != sys.argv[2] else sys.stderr
        sys.argv = ["snakemake", *arguments]
        try:
            main(arguments)
        except SystemExit as end:
            os._exit(int(bool(end.code)))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([name, status]), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """A folder in which a start would have much to do: of a batch a page has gone, a cache is noted as damaged, a start
    that died left lock, marks, and a file that is half written."""
    room = Room(tmp_path)
    room.fake_model()
    room.write_texts()
    room.write_config(neurons=["L1/N*"])
    mine = tmp_path / "results/mine"
    made = ["done/page-L1-N0-65535", "done/recompute-L1-N0-65535", "cache/0000.zarr/zarr.json", "scan/0000.zarr.zip"]
    made += [f"site/L1/N{neuron}.html" for neuron in range(47)] + ["model.json", "scan/0000.writing-elsewhere-1-abcd"]
    for name in made:
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text("{}")
    monkeypatch.chdir(tmp_path)
    state = tmp_path / ".snakemake"
    note("results/mine/cache/0000.zarr", "a chunk is damaged", state / "gluscope-redo")
    (state / "locks").mkdir()
    (state / "locks/0.output.lock").write_text("results/mine/summary.zarr/zarr.json\n")
    died = Owner(socket.gethostname(), 2**22 + 1, "1")
    died.file(state).parent.mkdir()
    died.file(state).write_text(json.dumps({"host": died.host, "pid": died.pid, "started": died.started}))
    (state / "incomplete").mkdir()
    (state / "incomplete" / urlsafe_b64encode(b"results/mine/scan/0000.zarr.zip").decode()).write_text("{}")
    (tmp_path / "looking").mkdir()
    (tmp_path / "looking/config.yaml").write_text("dry-run: true\n")
    return room


def state(folder: Path) -> dict[str, tuple[int, str]]:
    """Time of change and content of every file, without Snakemake's logs of its own calls."""
    own = (".snakemake/log/", ".snakemake/iocache/")
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file() or path.is_symlink()}
    return {
        name: (path.lstat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for name, path in found.items()
        if not name.startswith(own)
    }


def test_calls_that_only_look_change_nothing(room: Room) -> None:
    common = ["--snakefile", str(REPO / "Snakefile"), "--configfile", "mine.yaml", "--cores", "2"]
    calls = [(name, arguments + common) for name, (arguments, _) in CALLS.items()]
    before, changed, status = state(room.folder), {}, {}
    with subprocess.Popen(
        [sys.executable, "-c", _CALL, json.dumps(calls), os.environ.get("SHOW", "")],
        cwd=room.folder, env=user_environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        for line in process.stdout:
            name, status[name] = json.loads(line)
            after = state(room.folder)
            changed[name] = {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}
            before = after
            process.stdin.write("\n")
            process.stdin.flush()
    assert changed == {name: own for name, (_, own) in CALLS.items()}
    # A report needs files that are not there; all else can be asked for of a folder that is locked.
    assert {name for name, code in status.items() if code} <= {"--report"}

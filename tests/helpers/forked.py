"""Snakemake imported once: each call is a process of its own all the same, with its folder, environment and streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

_SERVER = """
import json, os, sys
sys.path.pop(0)
from snakemake.cli import main
for line in sys.stdin:
    call = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(call["folder"])
        os.environ.clear()
        os.environ.update(call["environment"])
        for number, file in enumerate((os.devnull, *call["streams"])):
            os.dup2(os.open(file, os.O_RDWR), number)
        sys.argv = ["snakemake", *call["arguments"]]
        sys.exit(main(call["arguments"]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@cache
def _server(owner: int) -> subprocess.Popen[str]:
    """owner: the process that asks; it ends with that."""
    return subprocess.Popen([sys.executable, "-c", _SERVER], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def forked_snakemake(
    folder: Path, arguments: list[str], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` would give of `snakemake ARGUMENTS` in `folder`, without the second of its import."""
    server = _server(os.getpid())
    assert server.stdin
    assert server.stdout
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        call = {"folder": str(folder), "arguments": arguments, "environment": environment}
        server.stdin.write(json.dumps(call | {"streams": [out.name, err.name]}) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(["snakemake", *arguments], status, out.read(), err.read())

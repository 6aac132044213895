"""Who makes a file at the moment: the job that began last. An older one that is still at work leaves it alone.

A job can outlive the Snakemake that sent it: killed with its terminal, forgotten by SLURM's controller, on a node that
has lost its connection. The next start then makes the same file anew, perhaps with other settings. Each job writes down
that it has begun; before anything gets its final name it looks whether another has begun since.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from gluscope.core.errors import StoreError
from gluscope.core.paths import STATE
from gluscope.store.atomic import before_final_names

CLAIMS = Path(STATE, "gluscope-claims")


@contextmanager
def claimed(outputs: Iterable[str], claims: Path = CLAIMS) -> Iterator[None]:
    """Make the outputs of a job, unless a later job does. Where there is no `.snakemake/` nobody is asked.

    Inside, what is written by `store.atomic` gets its final name only while all claims hold. Raises StoreError there.
    """
    if not claims.parent.is_dir():
        yield
        return
    claims.mkdir(exist_ok=True)
    host, pid = socket.gethostname(), os.getpid()
    own = {"id": secrets.token_hex(8), "host": host, "process": pid, "began": time.strftime("%Y-%m-%d %H:%M:%S")}
    files = {output: claims / f"{sha256(output.encode()).hexdigest()[:32]}.json" for output in outputs}
    for file in files.values():
        _write(file, own)

    def refuse_if_another() -> None:
        for output, file in files.items():
            if (found := _read(file)) != own:
                later = "one that began later and has ended"
                if found:
                    later = f"one on {found.get('host')} (process {found.get('process')}, {found.get('began')})"
                raise StoreError(
                    output, "this job to be the last that makes it", later, "nothing: the later one's stays"
                )

    try:
        with before_final_names(refuse_if_another):
            yield
    finally:
        for file in files.values():
            if _read(file) == own:
                file.unlink(missing_ok=True)


def _write(file: Path, claim: dict[str, object]) -> None:
    temporary = file.with_name(f"{file.name}.{claim['id']}")
    temporary.write_text(json.dumps(claim), encoding="utf-8")
    temporary.replace(file)


def _read(file: Path) -> dict[str, object] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None

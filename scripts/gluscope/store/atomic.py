"""Files and folders that appear under their final names whole, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gluscope.core.errors import StoreError

_MARK = ".writing-"
_OLD = 7 * 24 * 3600  # seconds after which an unfinished file of another host is given up


def _temporary(target: Path) -> Path:
    """A name beside `target` that no other process, on any host, uses."""
    return target.with_name(f"{target.name}{_MARK}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")


def _abandoned(path: Path) -> bool:
    host, _, rest = path.name.rpartition(_MARK)[2].rpartition("-")[0].rpartition("-")
    try:
        if host == socket.gethostname():
            os.kill(int(rest), 0)
            return False
        return time.time() - path.stat().st_mtime > _OLD
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False


def remove_abandoned(target: Path) -> None:
    """Remove what dead jobs left beside `target` while they were writing it."""
    for path in target.parent.glob(f"{target.name}{_MARK}*"):
        if _abandoned(path):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            step = "free some space or name another folder, then run the same command again"
            raise StoreError(str(target), "room to write it", os.strerror(error.errno), step) from error
        raise


@contextmanager
def new_file(target: str | Path) -> Iterator[Path]:
    """A path to write to; when the block ends well the file gets its final name, else it goes away.

    Raises StoreError if the disk is full.
    """
    target = Path(target)
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target)
        temporary = _temporary(target)
        try:
            yield temporary
            _sync(temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(target: str | Path) -> Iterator[Path]:
    """The same for a folder, which takes the place of one that is there.

    Snakemake makes the folder of an output before its job runs, so an empty one is usual.
    """
    target = Path(target)
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target)
        temporary = _temporary(target)
        temporary.mkdir()
        try:
            yield temporary
            for path in temporary.rglob("*"):
                if path.is_file():
                    _sync(path)
            _take_place(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _take_place(temporary: Path, target: Path) -> None:
    """Rename a folder over another; the old one goes first, so a reader sees one of them or none."""
    for _ in range(10):
        if target.is_dir():
            old = _temporary(target)
            os.rename(target, old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            os.rename(temporary, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
    raise StoreError(
        str(target), "one job that writes it", "another that does so at once", "run the same command again"
    )


def _sync(path: Path) -> None:
    """Have the disk hold it before it gets its name."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

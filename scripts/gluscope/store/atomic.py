"""Files and folders that appear under their final names whole, or not at all."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gluscope.core.errors import StoreError

_MARK = ".writing-"
_OLD = 24 * 3600  # seconds without a change after which an unfinished file of another host is given up
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST)
_asked: list[Callable[[], None]] = []


@contextmanager
def before_final_names(ask: Callable[[], None]) -> Iterator[None]:
    """Inside, `ask()` is called before anything gets its final name; what it raises keeps it from that."""
    _asked.append(ask)
    try:
        yield
    finally:
        _asked.remove(ask)


def _ask() -> None:
    for ask in _asked:
        ask()


def _temporary(target: Path) -> Path:
    """A name beside `target` that no other process, on any host, uses."""
    return target.with_name(f"{target.name}{_MARK}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")


def _abandoned(path: Path) -> bool:
    """Whether the process that wrote it is gone, or, on another host, has not touched it for long."""
    host, _, process = path.name.rpartition(_MARK)[2].rpartition("-")[0].rpartition("-")
    try:
        if host == socket.gethostname():
            os.kill(int(process), 0)
            return False
        newest = max(part.stat().st_mtime for part in [path, *path.rglob("*")])
        return time.time() - newest > _OLD
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):
        return False


def remove_abandoned(target: Path) -> None:
    """Remove what dead jobs left beside `target` while they were writing it."""
    for path in target.parent.glob(f"{glob.escape(target.name)}{_MARK}*"):
        if _abandoned(path):
            _remove(path)


def remove_unfinished(folder: Path) -> list[Path]:
    """Remove all that was being written anywhere under `folder`; only when no job is left that writes there."""
    found = [path for path in sorted(folder.rglob(f"*{_MARK}*")) if _MARK not in str(path.parent.relative_to(folder))]
    for path in found:
        _remove(path)
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
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
            _ask()
            os.replace(temporary, target)
            _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(target: str | Path, keep: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """The same for a folder, which takes the place of one that is there.

    The folder of an output is made before its job runs, so an empty one is usual. keep: says of a folder that
    has appeared under the final name, made by another job at the same time, whether it is as good; then that one stays.
    """
    target = Path(target)
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target)
        temporary = _temporary(target)
        temporary.mkdir()
        try:
            yield temporary
            for path in [*temporary.rglob("*"), temporary]:
                _sync(path)
            _ask()
            if not (keep and target.is_dir() and keep(target)):
                _take_place(temporary, target)
                _sync(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _take_place(temporary: Path, target: Path) -> None:
    """Rename a folder over another; the old one goes first, so a reader sees one of them or none."""
    for _ in range(10):
        if target.is_dir():
            old = _temporary(target)
            with suppress(FileNotFoundError):  # another job was first
                os.rename(target, old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            os.rename(temporary, target)
        except OSError as error:
            if error.errno not in _OCCUPIED:
                raise
        else:
            return
    step = "run the same command again"
    raise StoreError(str(target), "one job that writes it", "another that does so at once", step)


def _sync(path: Path) -> None:
    """Have the disk hold a file, or the names in a folder, before what stands for them gets its name."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():  # some systems cannot, for folders
            raise
    finally:
        os.close(handle)

"""Whether a file or folder of results is as it was written, by the checksums of all its bytes."""

from __future__ import annotations

import itertools
import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gluscope.core.errors import StoreError
from gluscope.dataset.record import TOKENS_JSON, verify
from gluscope.store.damage import Damaged, refused
from gluscope.store.listing import LISTING, check_listed, own_listing
from gluscope.store.sealed import unseal
from gluscope.store.zarrfile import checked, folder_of, read_group, read_index

_Read = Callable[[int, int], bytes]


def check_whole(path: str | Path) -> None:
    """Compare every checksum.

    path: a group that `store.zarrfile` wrote (its folder, its zarr.json or a zip file), an .npz, a token data set, a
    folder with a list of its files, or a record in JSON. Raises StoreError that names the first part that is damaged or
    missing, or says that it cannot be looked at.
    """
    path = folder_of(path)
    if (path / TOKENS_JSON).exists():
        verify(path)
    elif (path / LISTING).exists():
        check_listed(path, whole=True)
    elif path.is_dir():
        _check_group(path, lambda name: _open_file(path / name))
    elif path.suffix == ".json":
        with refused(path, "the file"):
            unseal(path.read_bytes())
    elif (path.parent / own_listing(path)).exists():
        check_listed(path.parent, whole=True, store=path, listing=own_listing(path))
    elif path.suffix in (".zip", ".npz"):
        _check_zip(path)
    else:
        raise StoreError(str(path), "a file with checksums", f"{path.suffix or 'another'}", "make it anew")


def _check_zip(path: Path) -> None:
    with refused(path, "zip"), _zip_damage(), zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            raise Damaged(f"{broken} as it was written, found other bytes (checksum)")
        if "zarr.json" in archive.namelist():
            _check_group(path, lambda name: _open_entry(archive, name))


def _check_group(path: Path, opened: Callable[[str], Any]) -> None:
    with refused(path, "zarr.json"), opened("zarr.json") as (size, read):
        group = read_group(read(0, size))
    for name, document in group.arrays.items():
        for key in _files(document):
            with refused(path, f"{name}/{key}"), opened(f"{name}/{key}") as (size, read):
                _check_file(document, size, read, group.marks.of(f"{name}/{key}"))


def _files(document: dict[str, Any]) -> Iterator[str]:
    """Names of the files of an array; none where it holds no value."""
    shape, chunk = document["shape"], document["chunk_grid"]["configuration"]["chunk_shape"]
    counts = [range(-(-size // part)) for size, part in zip(shape, chunk, strict=True)]
    return (".".join(map(str, place)) for place in itertools.product(*counts))


def _check_file(document: dict[str, Any], size: int, read: _Read, mark: bytes) -> None:
    codec = document["codecs"][0]
    if codec["name"] != "sharding_indexed":
        checked(read(0, size), "the file")
        return
    outer, inner = document["chunk_grid"]["configuration"]["chunk_shape"], codec["configuration"]["chunk_shape"]
    chunks = math.prod(whole // part for whole, part in zip(outer, inner, strict=True))
    for number, (start, length) in enumerate(read_index(chunks, size, read, mark).tolist()):
        checked(read(start, length), f"chunk {number}")


@contextmanager
def _open_file(path: Path) -> Iterator[tuple[int, _Read]]:
    with open(path, "rb") as file:
        yield path.stat().st_size, lambda start, length: (file.seek(start), file.read(length))[1]


@contextmanager
def _open_entry(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[int, _Read]]:
    data = archive.read(name)
    yield len(data), lambda start, length: data[start : start + length]


@contextmanager
def _zip_damage() -> Iterator[None]:
    """What zipfile raises for altered archives has no common class."""
    try:
        yield
    except (Damaged, StoreError, FileNotFoundError, MemoryError):
        raise
    except Exception as error:
        raise Damaged(f"a whole zip file, found damage ({' '.join(str(error).split())[:200]})") from error

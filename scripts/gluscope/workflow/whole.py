"""Whether a file or folder of results is as it was written, by the checksums of all its bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path

from gluscope.core.errors import StoreError
from gluscope.dataset.record import TOKENS_JSON, verify
from gluscope.store.damage import Damaged, refused, zip_damage
from gluscope.store.group import GroupReader, folder_of
from gluscope.store.listing import LISTING, check_listed, own_listing
from gluscope.store.sealed import unseal


def check_whole(path: str | Path) -> None:
    """Compare every checksum.

    path: a zarr group (its folder, its zarr.json or a zip file), an .npz, a token data set, a folder with a list of its
    files, or a record in JSON. Raises StoreError that names the first part that is damaged or missing, or says that it
    cannot be looked at.
    """
    path = folder_of(path)
    if (path / TOKENS_JSON).exists():
        verify(path)
    elif (path / LISTING).exists():
        check_listed(path, whole=True)
    elif path.is_dir():
        GroupReader(path, "a group").check()
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
    with refused(path, "zip"), zip_damage("a whole zip file"), zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            raise Damaged(f"{broken} as it was written, found other bytes (checksum)")
        group = "zarr.json" in archive.namelist()
    if group:
        GroupReader(path, "a group").check()

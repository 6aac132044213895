"""What we write opens in a zarr-python that our own Python is too old for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[2] / "golden"
# A digest of every array, so that the two need not share a process.
READ = """
import hashlib, sys, zarr
for path in sys.argv[1:]:
    root = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
    for name, array in sorted(root.members(max_depth=None)):
        if isinstance(array, zarr.Array):
            data = array[...]
            data = repr(data.tolist()).encode() if data.dtype.kind not in "iuf" else data.tobytes()
            print(name, array.shape, hashlib.sha256(data).hexdigest())
"""


def other_python() -> str:
    """A Python that has zarr 3.4 or newer; skips where none is to be had."""
    for name in (os.environ.get("PYTHON_WITH_NEW_ZARR"), "python3.14", "python3.13", "python3.12"):
        found = shutil.which(name) if name else None
        code = "import zarr, sys; sys.exit(tuple(map(int, zarr.__version__.split('.')[:2])) < (3, 4))"
        if found and subprocess.run([found, "-c", code], capture_output=True).returncode == 0:
            return found
    pytest.skip("needs a Python 3.12 or newer with zarr 3.4 or newer; PYTHON_WITH_NEW_ZARR names one")


def test_newer_zarr_reads_the_same_arrays() -> None:
    other = other_python()
    stores = [str(GOLDEN / "summary.zarr.zip"), str(GOLDEN / "cache.zarr.packed.zip")]
    read = [
        subprocess.run([python, "-c", READ, *stores], capture_output=True, text=True, check=True).stdout
        for python in (sys.executable, other)
    ]
    assert read[0].count("\n") >= 12
    assert read[1] == read[0]

"""Stores of earlier versions stay readable: results of months must not be lost by an update."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from gluscope.cache.reader import CacheReader
from gluscope.summary.file import SummaryReader
from helpers.checkout import REPO
from helpers.summaries import assert_equal

UPDATE = (
    "A stored file of an earlier version reads differently. If that is meant, readers must tell the versions apart; "
    "then make the files anew with `python tests/golden/make_stores.py`"
)


@pytest.fixture(scope="module")
def golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_stores", REPO / "tests/golden/make_stores.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_summary(golden: ModuleType, tmp_path: Path, form: str) -> None:
    """A folder holds the same files as a zip."""
    path = golden.SUMMARY
    if form == "folder":
        zipfile.ZipFile(path).extractall(tmp_path)
        path = tmp_path
    try:
        reader = SummaryReader(path)
        for number in range(golden.N_LAYERS):
            assert_equal(reader.layer(number), golden.layer(number))
            assert_equal(reader.neuron(number, 3), golden.layer(number).neuron(3))
        np.testing.assert_array_equal(reader.sign(), golden.SIGN)
        np.testing.assert_array_equal(reader.sample().position, golden.SAMPLE.position)
        assert reader.attributes == golden.ATTRIBUTES
    except Exception as error:
        raise AssertionError(UPDATE) from error


def test_cache(golden: ModuleType, tmp_path: Path) -> None:
    zipfile.ZipFile(golden.CACHE).extractall(tmp_path)
    try:
        with CacheReader(tmp_path) as cache:
            np.testing.assert_array_equal(cache.rows, golden.ROWS)
            for layer in range(golden.N_LAYERS):
                found = np.concatenate([cache.read(layer, row) for row in golden.ROWS])
                np.testing.assert_array_equal(found, golden.x()[layer].astype(np.float32))
    except Exception as error:
        raise AssertionError(UPDATE) from error

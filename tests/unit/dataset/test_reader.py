"""Reading token data sets: rows over several files and chunks, and damage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from gluscope.core.errors import StoreError
from gluscope.dataset import choose
from gluscope.dataset.build import build
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.record import StoredFile, TokenRecord, file_sha256, verify
from gluscope.dataset.sources import fetch
from gluscope.store.blocks import write_sums
from helpers.settings import token_settings

ROWS = [[i % 7] * (1 + i % 5) + [i] for i in range(40)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(choose, "ROWS_AT_ONCE", 7)
    datasets.Dataset.from_dict({"input_ids": ROWS, "n": list(range(40))}).save_to_disk(str(tmp_path / "in"))
    build(tmp_path / "out", fetch(str(tmp_path / "in"), None), token_settings())
    return tmp_path / "out"


def same_rows(data: TokenDataset) -> None:
    assert len(data) == len(ROWS)
    assert data.lengths.tolist() == [len(row) for row in ROWS]
    assert [data.input_ids(row).tolist() for row in range(40)] == ROWS
    assert [data.metadata(row)["n"] for row in range(40)] == list(range(40))


def test_rows_over_chunks(folder: Path) -> None:
    data = TokenDataset.open(folder)
    same_rows(data)
    assert not data.input_ids(3).flags.writeable


def test_rows_over_files(folder: Path) -> None:
    """A large data set is stored in several Arrow files."""
    record = TokenRecord.read(folder)
    whole = datasets.load_from_disk(str(folder))
    whole.save_to_disk(str(folder.parent / "files"), num_shards=3)
    for arrow in (folder.parent / "files").glob("*.arrow"):
        write_sums(arrow)
    names = sorted(path.name for path in (folder.parent / "files").iterdir())
    assert sum(name.endswith(".arrow") for name in names) == 3
    files = [folder.parent / "files" / name for name in names]
    stored = [StoredFile(path.name, path.stat().st_size, file_sha256(path)) for path in files]
    replace(record, files=stored).save(folder.parent / "files")
    same_rows(TokenDataset.open(folder.parent / "files"))


@pytest.mark.parametrize("row", [-1, 40])
def test_rows_that_are_not_there(folder: Path, row: int) -> None:
    with pytest.raises(IndexError):
        TokenDataset.open(folder).input_ids(row)


def test_a_flipped_bit_is_found_and_named(folder: Path) -> None:
    assert verify(folder) == TokenRecord.read(folder)
    arrow = next(folder.glob("*.arrow"))
    whole = arrow.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 20):
        arrow.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(StoreError, match=rf"{arrow}: expected sha256 .* was altered"):
            verify(folder)
    arrow.write_bytes(whole)
    verify(folder)


@pytest.mark.parametrize("check", [TokenDataset.open, verify])
def test_missing_and_cut_files_are_named(folder: Path, check) -> None:
    arrow = next(folder.glob("*.arrow"))
    whole = arrow.read_bytes()
    arrow.write_bytes(whole[:-1])
    with pytest.raises(StoreError, match=f"{arrow}: expected {len(whole)} bytes, found {len(whole) - 1} bytes"):
        check(folder)
    arrow.unlink()
    with pytest.raises(StoreError, match=f"{arrow}: expected {len(whole)} bytes, found no such file"):
        check(folder)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"rows": 3', '{"settings": {"unknown": 1}, "files": []}'])
def test_a_record_that_says_nothing_is_refused(folder: Path, content: str) -> None:
    (folder / "tokens.json").write_text(content)
    with pytest.raises(StoreError, match=r"tokens\.json: expected the record of a token data set"):
        TokenDataset.open(folder)


def test_an_unfinished_or_newer_data_set_is_refused(folder: Path) -> None:
    replace(TokenRecord.read(folder), format=3).save(folder)
    with pytest.raises(StoreError, match="expected format 2, found format 3"):
        TokenDataset.open(folder)
    (folder / "tokens.json").unlink()
    with pytest.raises(StoreError, match=r"tokens\.json: .* found no such file"):
        TokenDataset.open(folder)

"""Records with a checksum of themselves, lists of a folder's files, and what a start finds altered among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.errors import StoreError, WrongFile
from gluscope.store.listing import LISTING, check_listed, list_file, own_listing, write_listing
from gluscope.store.sealed import read_sealed, sealed
from gluscope.workflow.altered import altered as altered_files
from gluscope.workflow.altered import unlike_list
from gluscope.workflow.restart import make_good
from gluscope.workflow.whole import check_whole
from helpers.damage import altered, flip

CONTENT = {"base": "é <b>", "shards": [{"start": 0, "stop": -1, "share": 0.1}], "none": None}


def same(raw: dict[str, Any]) -> dict[str, Any]:
    if raw.keys() != CONTENT.keys():
        raise KeyError(str(raw.keys()))
    return raw


def test_every_bit_of_a_record_counts_or_does_not_matter(tmp_path: Path) -> None:
    path, refused = tmp_path / "plan.json", 0
    path.write_text(sealed("a plan", CONTENT), encoding="utf-8")
    whole = path.read_bytes()
    assert read_sealed(path, "a plan", same) == CONTENT
    for bit in range(8 * len(whole)):
        with altered(path, flip(whole, bit)):
            try:
                assert read_sealed(path, "a plan", same) == CONTENT
            except StoreError as error:
                refused += 1
                message, redo = str(error), error.redo
            else:
                continue
            assert redo == (str(path),)
            assert message.startswith(f"{path}: expected a plan")
    assert refused > 0.8 * 8 * len(whole)


def test_another_layout_of_the_text_is_the_same_record(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(json.loads(sealed("a plan", CONTENT)), sort_keys=True), encoding="utf-8")
    assert read_sealed(path, "a plan", same) == CONTENT
    check_whole(path)


def test_a_record_of_another_kind_is_whole_but_wrong(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(sealed("a model", CONTENT), encoding="utf-8")
    check_whole(path)
    with pytest.raises(WrongFile, match="expected a plan, found a model"):
        read_sealed(path, "a plan", same)


def test_a_record_of_an_earlier_version_has_no_checksum(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(CONTENT), encoding="utf-8")
    assert read_sealed(path, "a plan", same) == CONTENT
    path.write_text(json.dumps({**CONTENT, "bose": 1}), encoding="utf-8")
    with pytest.raises(WrongFile, match="other content"):
        read_sealed(path, "a plan", same)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records, a site, an export and a single file with their lists."""
    monkeypatch.chdir(tmp_path)
    folder = Path("results")
    for name in ("r/site/index.html", "r/site/finder/L0.js", "r/export/hf/state.json", "r/export/hf/samples/a.arrow"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, encoding="utf-8")
    for name in ("r/site", "r/export/hf"):
        write_listing(folder / name)
    table = folder / "r/export/neurons.parquet"
    table.write_bytes(b"PAR1")
    list_file(table, table)
    (folder / "r/plan.json").write_text(sealed("a plan", CONTENT), encoding="utf-8")
    tokens = folder / "datasets/d/tokens.json"
    tokens.parent.mkdir(parents=True)
    (tokens.parent / "data.arrow").write_bytes(b"12345")
    tokens.write_text(sealed("tokens", {"files": [{"name": "data.arrow", "bytes": 5}]}), encoding="utf-8")
    return folder


def test_what_is_as_it_was_written_stays(results: Path) -> None:
    targets = ["results/r/export/hf/state.json", "results/r/export/neurons.parquet", "-c2"]
    assert list(altered_files(results, targets)) == []


@pytest.mark.parametrize(
    ("file", "data", "goes"),
    [
        ("r/plan.json", b"{", "r/plan.json"),
        ("datasets/d/data.arrow", b"1234", "datasets/d"),
        ("datasets/d/data.arrow", None, "datasets/d"),
        ("datasets/d/tokens.json", b"{}x", "datasets/d"),
        ("r/site/finder/L0.js", None, "r/site/index.html"),
        ("r/site/finder/L0.js", b"cut", "r/site/index.html"),
        ("r/site/index.html", b"cut", "r/site/index.html"),
        ("r/export/hf/samples/a.arrow", None, "r/export/hf"),
        (f"r/export/hf/{LISTING}", b"{", "r/export/hf"),
        ("r/export/neurons.parquet", b"PAR", "r/export/neurons.parquet"),
    ],
)
def test_what_is_altered_gone_or_cut_goes_at_the_start(results: Path, file: str, data: bytes | None, goes: str) -> None:
    path, store = results / file, results / goes
    path.unlink() if data is None else path.write_bytes(data)
    said: list[str] = []
    target = str(store / "state.json") if store.is_dir() else str(store)
    make_good(said.append, Path(".snakemake"), lambda: None, results, [target])
    assert not store.exists()
    assert len(said) == 1
    assert said[0].endswith("Removed; it is made anew.")
    assert unlike_list(store) == "", "what is not there is unlike nothing"


def test_an_export_that_nobody_asks_for_is_not_looked_at(results: Path) -> None:
    (results / "r/export/hf/state.json").unlink()
    assert list(altered_files(results, ["results/r/site/index.html"])) == []


def test_every_byte_is_compared_where_the_list_is_read_whole(results: Path) -> None:
    rng, folder = np.random.default_rng(0), results / "r/export/hf"
    for path in (folder / "state.json", folder / "samples/a.arrow"):
        data = path.read_bytes()
        check_listed(folder, whole=True)
        for bit in rng.integers(0, 8 * len(data), 20).tolist():
            with altered(path, flip(data, bit)):
                check_listed(folder)
                with pytest.raises(StoreError, match=path.name):
                    check_whole(folder)
    table = results / "r/export/neurons.parquet"
    check_whole(table)
    with altered(table, b"PAR2"), pytest.raises(StoreError, match=r"neurons\.parquet"):
        check_whole(table)
    (table.parent / own_listing(table)).unlink()
    with pytest.raises(StoreError, match="expected a file with checksums"):
        check_whole(table)

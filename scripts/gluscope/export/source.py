"""Published activations as they lie on a disk: Arrow or parquet files, or the dict that the original tool saves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from gluscope.core.errors import DatasetError
from gluscope.export.published import SKIPS, missing_columns, schema
from gluscope.store.listing import check_listed

_AGAIN = "fetch or write it again"
_OWN = re.compile(r"state\.json|[^/]+\.arrow")  # files of an export that are read


class Published(Protocol):
    """Published activations that have been found.

    rows: neurons in them. files: what they lie in. convention: "refactored" or "raw". skips: see
    `published.skips_of`; empty where frequencies are of all tokens, as in all that others publish.
    """

    convention: str
    skips: dict[str, Any]

    @property
    def rows(self) -> int: ...

    @property
    def files(self) -> list[Path]: ...

    def tables(self, d_mlp: int) -> Iterator[pa.Table]:
        """`d_mlp` rows at a time, with the columns of `published.schema()`. Memory: two such tables."""
        ...


def open_published(place: str | Path) -> Published:
    """The activations in a folder or file. Raises DatasetError for what holds none, or is damaged."""
    place = Path(place)
    if place.suffix == ".pt":
        from gluscope.export.torch_summary import TorchSummary

        return TorchSummary.open(place)
    if (place / "dataset_dict.json").is_file():
        place = _split(place)
    if (place / "state.json").is_file():
        check_listed(place, whole=True, among=_OWN)  # an export of this workflow; of a fetched one the rest may lack
        return ArrowFiles(place, _saved_files(place))
    return ParquetFiles(place, _parquet_files(place))


class ArrowFiles:
    """A folder that `save_to_disk` wrote."""

    convention = "refactored"

    def __init__(self, place: Path, files: list[Path]) -> None:
        self._place, self.files = place, files
        tables = [_stream(file) for file in files]
        _refuse_other_columns(place, tables[0].column_names if tables else [])
        with _whole(place):
            self._table = pa.concat_tables(tables)
            self.skips = json.loads((self._table.schema.metadata or {}).get(SKIPS.encode(), b"{}"))

    @property
    def rows(self) -> int:
        return int(self._table.num_rows)

    def tables(self, d_mlp: int) -> Iterator[pa.Table]:
        for first in range(0, self.rows, d_mlp):
            with _whole(self._place):
                yield _as_published(self._table.slice(first, d_mlp))


class ParquetFiles:
    """Parquet files, in the order of their names."""

    convention = "refactored"

    def __init__(self, place: Path, files: list[Path]) -> None:
        self._place, self.files = place, files
        self.skips: dict[str, Any] = {}

    @property
    def rows(self) -> int:
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def tables(self, d_mlp: int) -> Iterator[pa.Table]:
        waiting: list[pa.Table] = []
        for file in self.files:
            with _whole(file):
                batches = pq.ParquetFile(file).iter_batches(d_mlp, columns=schema().names)
            while True:
                with _whole(file):
                    batch = next(batches, None)
                    if batch is None:
                        break
                    waiting.append(_as_published(pa.Table.from_batches([batch])))
                while sum(table.num_rows for table in waiting) >= d_mlp:
                    whole = pa.concat_tables(waiting)
                    yield whole.slice(0, d_mlp)
                    waiting = [whole.slice(d_mlp)]
        if any(table.num_rows for table in waiting):
            yield pa.concat_tables(waiting)


def _split(place: Path) -> Path:
    """The folder of the split `train` of a saved DatasetDict, or of its only one."""
    with _whole(place):
        splits = json.loads((place / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
    if "train" not in splits and len(splits) != 1:
        raise DatasetError(str(place), "a split `train`", ", ".join(splits) or "none", "name the split's folder")
    return place / ("train" if "train" in splits else splits[0])


def _saved_files(place: Path) -> list[Path]:
    with _whole(place):
        state = json.loads((place / "state.json").read_text(encoding="utf-8"))
        files = [place / file["filename"] for file in state["_data_files"]]
    if not files:
        raise DatasetError(str(place), "Arrow files", "none in its state.json", _AGAIN)
    return files


def _parquet_files(place: Path) -> list[Path]:
    """Those that have the columns; others, such as sampled activations, may lie beside them."""
    if place.is_file():
        files = [place]
    else:
        found = (file for file in place.rglob("*.parquet") if file.is_file())
        files = sorted(f for f in found if not any(part.startswith(".") for part in f.relative_to(place).parts))
    if not files:
        expected = "a folder of `save_to_disk`, parquet files or a summary_refactored.pt"
        raise DatasetError(str(place), expected, "none of them", "check the path or id")
    names = {}
    for file in files:
        with _whole(file):
            names[file] = pq.read_schema(file).names
    fitting = [file for file in files if not missing_columns(names[file])]
    if not fitting:
        _refuse_other_columns(files[0], names[files[0]])
    return fitting


def _refuse_other_columns(place: Path, names: list[str]) -> None:
    if gone := missing_columns(names):
        found = f"{len(gone)} of the columns missing" if names else "no columns"
        raise DatasetError(str(place), f"a column {gone[0]}, as published activations have", found, "check path or id")


def _stream(file: Path) -> pa.Table:
    """All batches of an Arrow stream; nothing of them is read before it is used."""
    with _whole(file):
        return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()


def _as_published(table: pa.Table) -> pa.Table:
    return table.select(schema().names).cast(schema())


@contextmanager
def _whole(place: Path) -> Iterator[None]:
    """What a damaged or strange file leads to, as one line that names it."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        found = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(str(place), "whole files of published activations", found, _AGAIN) from error

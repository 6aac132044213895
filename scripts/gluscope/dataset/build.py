"""Make a token data set's folder. Beside sources.py, the only place that imports `datasets`."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import DatasetError
from gluscope.dataset.choose import Examples, take_order, taken_over, tokenised, up_to
from gluscope.dataset.reader import IDS, MASK, OWN_COLUMNS, SOURCE_OFFSET, SOURCE_ROW
from gluscope.dataset.record import TOKENS_JSON, StoredFile, TokenRecord, TokenSettings, file_sha256, seal
from gluscope.dataset.sources import TOKENIZER_FILES, Sources, open_source, revision_of
from gluscope.dataset.tokenise import Tokeniser
from gluscope.store.atomic import new_folder

Report = Callable[[int, int, int], None]


def build(
    out: str | Path,
    sources: Sources,
    settings: TokenSettings,
    versions: dict[str, str] | None = None,
    report: Report | None = None,
    stages: dict[str, str] | None = None,
) -> TokenRecord:
    """Write the token data set `out`, a folder that `datasets.load_from_disk` opens, and return its tokens.json.

    Columns: the source's, then `input_ids` int32 [token], `attention_mask` int8 [token] (all 1), `source_row` int64
    (row in the source) and `source_offset` int64 (tokens of the text, special ones not counted, before this piece of
    it; 0 unless long texts are split). A split text's pieces hold their own part of the text. Source columns of the
    last two names give way. Rows lie in the order in which they were taken.

    Rows are taken in the source's order, or shuffled; the first that would take the sum beyond settings.max_tokens
    ends the choice and is left out. Sources with `input_ids` are taken as they are: only order and sum apply.

    versions, stages: kept in tokens.json.
    report: called now and then with (rows seen, rows of the source, tokens so far).
    The folder appears under its name when it is complete. Raises DatasetError, and StoreError for a full disk.
    """
    with new_folder(out) as folder:
        scratch = folder / "scratch"
        scratch.mkdir()
        source, written = open_source(sources.source, settings, scratch)
        plain = IDS in source.column_names
        _check(source, written.mixed, sources, settings)
        order = take_order(len(source), settings.shuffle_seed)
        if plain:
            examples = taken_over(source, order, sources.source.id)
        else:
            assert sources.tokenizer is not None
            examples = tokenised(source, order, Tokeniser(sources.tokenizer, settings.bos), settings)
        totals = _write(up_to(examples, settings.max_tokens), source, settings, scratch / "tokens.arrow", report)
        _refuse_empty(totals, sources.source.id, settings)
        _save(scratch / "tokens.arrow", folder, totals.fingerprint(settings))
        shutil.rmtree(scratch)
        record = TokenRecord(
            rows=len(totals.lengths),
            tokens=sum(totals.lengths),
            longest=max(totals.lengths),
            max_id=totals.max_id,
            fingerprint=totals.fingerprint(settings),
            settings=settings,
            source={"id": sources.source.id, "revision": revision_of(sources.source)},
            tokenizer=None if plain else _tokenizer_of(sources),
            pretokenised=plain,
            text_column=settings.text_column if _is_text(source, settings.text_column) else None,
            dropped_empty=totals.empty,
            replaced_surrogates=written.surrogates,
            files=_checksums(folder),
            versions=versions or {},
            stages=stages or {},
        )
        record.save(folder)
    return record


@dataclass
class _Totals:
    lengths: list[int] = field(default_factory=list)
    max_id: int = 0
    empty: int = 0
    seen: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, some: Examples) -> None:
        for piece in some.pieces:
            self.lengths.append(len(piece.ids))
            self.max_id = max(self.max_id, int(piece.ids.max()))
            self.digest.update(piece.ids.astype("<i4").tobytes())
        self.empty += len(some.empty)
        self.seen += len(some.source_rows)

    def fingerprint(self, settings: TokenSettings) -> str:
        return seal(self.digest.digest(), np.array(self.lengths, np.int64), settings)


def _check(source: Any, mixed: set[str], sources: Sources, settings: TokenSettings) -> None:
    """What can be known before the first row is read. Raises DatasetError."""
    where, column = sources.source.id, settings.text_column
    if len(source) == 0:
        raise DatasetError(where, "at least one text", "none", "check the source and its split")
    if IDS in source.column_names:
        if settings.bos is not None:
            step = "leave `bos` out: such data are taken as they are"
            raise DatasetError(where, "texts, because `bos` is set", "a source with `input_ids`", step)
        return
    if column not in source.column_names:
        near = get_close_matches(column, source.column_names, n=1, cutoff=0.0)
        step = f"set `text_column`, perhaps to {near[0]!r}" if near else "check the source"
        raise DatasetError(where, f"a column {column!r}", f"columns {', '.join(source.column_names)}", step)
    if column in mixed or not _is_text(source, column):
        found = "values of several types" if column in mixed else str(source.features[column])
        raise DatasetError(where, f"texts in the column {column!r}", found, "set `text_column` to one that holds texts")
    if sources.tokenizer is None:
        raise DatasetError(where, "a tokenizer for texts", "none", "add `tokenizer` to the data set's entry")


def _is_text(source: Any, column: str) -> bool:
    kind = getattr(source.features.get(column), "dtype", None)
    return kind in ("string", "large_string", "string_view")


def _write(
    examples: Iterator[Examples], source: Any, settings: TokenSettings, path: Path, report: Report | None
) -> _Totals:
    """All examples into one Arrow stream."""
    import pyarrow as pa
    from datasets import Features, List, Value

    kept = {name: kind for name, kind in source.features.items() if name not in OWN_COLUMNS}
    own = {
        IDS: List(Value("int32")),
        MASK: List(Value("int8")),
        SOURCE_ROW: Value("int64"),
        SOURCE_OFFSET: Value("int64"),
    }
    schema = Features({**kept, **own}).arrow_schema
    totals = _Totals()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for some in examples:
            totals.add(some)
            if some.pieces:
                writer.write_table(_table(some, schema, settings.text_column))
            if report:
                report(totals.seen, len(source), sum(totals.lengths))
    return totals


def _table(some: Examples, schema: Any, text_column: str) -> Any:
    """The examples as rows of the data set."""
    import pyarrow as pa

    texts = np.array([piece.text for piece in some.pieces])
    taken = some.table.take(texts)
    columns = {name: taken.column(name) for name in schema.names if name not in OWN_COLUMNS}
    if any(piece.offset or piece.end is not None for piece in some.pieces):
        whole = some.table.column(text_column).to_pylist()
        columns[text_column] = pa.array([whole[piece.text][piece.begin : piece.end] for piece in some.pieces])
    ends = pa.array(np.cumsum([0, *(len(piece.ids) for piece in some.pieces)]).astype(np.int32))
    ids = np.concatenate([piece.ids for piece in some.pieces])
    columns[IDS] = pa.ListArray.from_arrays(ends, pa.array(ids))
    columns[MASK] = pa.ListArray.from_arrays(ends, pa.array(np.ones(len(ids), np.int8)))
    columns[SOURCE_ROW] = pa.array(some.source_rows[texts])
    columns[SOURCE_OFFSET] = pa.array(np.array([piece.offset for piece in some.pieces], np.int64))
    return pa.table(columns).select(schema.names).cast(schema)


def _refuse_empty(totals: _Totals, where: str, settings: TokenSettings) -> None:
    if totals.lengths:
        return
    if settings.max_tokens is not None and totals.empty < totals.seen:
        found = f"a first one of more than {settings.max_tokens} tokens"
        raise DatasetError(where, "at least one example within `max_tokens`", found, "set `max_tokens` higher")
    raise DatasetError(
        where, "a text with a token", f"{totals.empty} without one", "check the source and its text column"
    )


def _tokenizer_of(sources: Sources) -> dict[str, str] | None:
    at = sources.tokenizer
    return {"id": at.id, "revision": revision_of(at, TOKENIZER_FILES)} if at else None


def _save(arrow: Path, folder: Path, fingerprint: str) -> None:
    """The Arrow stream as a folder such as `datasets` writes."""
    import datasets

    table = datasets.table.MemoryMappedTable.from_file(str(arrow))
    info = datasets.DatasetInfo(features=datasets.Features.from_arrow_schema(table.schema))
    quiet = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        # As the original tool saves its own: token ids come back as torch tensors.
        datasets.Dataset(table, info=info, fingerprint=fingerprint[:16]).with_format("torch").save_to_disk(folder)
    finally:
        if not quiet:
            datasets.enable_progress_bars()


def _checksums(folder: Path) -> list[StoredFile]:
    files = sorted(path for path in folder.iterdir() if path.name != TOKENS_JSON)
    return [StoredFile(path.name, path.stat().st_size, file_sha256(path)) for path in files]

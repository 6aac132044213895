"""Make a token data set's folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.errors import DatasetError
from gluscope.dataset.chat import ChatTemplate
from gluscope.dataset.choose import Taken, rendered, take_order, taken_over, tokenised, up_to
from gluscope.dataset.reader import COPY_OF, IDS, MASK, SOURCE_OFFSET, SOURCE_ROW, TURNS
from gluscope.dataset.record import TOKENS_JSON, StoredFile, TokenRecord, TokenSettings, file_sha256, seal
from gluscope.dataset.sources import TOKENIZER_FILES, Sources, open_source, revision_of
from gluscope.dataset.special import TOKENIZER_JSON
from gluscope.dataset.table import Table
from gluscope.dataset.tokenise import Piece, Tokeniser, save_tokenizer, special_tokens
from gluscope.store.atomic import new_folder
from gluscope.store.blocks import write_sums

EXAMPLES_AT_ONCE = 256


def build(
    out: str | Path,
    sources: Sources,
    settings: TokenSettings,
    versions: dict[str, str] | None = None,
    stages: dict[str, str] | None = None,
) -> TokenRecord:
    """Write the token data set `out`, a folder that `datasets.load_from_disk` opens, and return its tokens.json.

    Columns: the source's (numbers, truth values and strings as they are, all else as text, bytes left out), then
    `input_ids` int32 [token], `attention_mask` int8 [token] (all 1), `source_row` int64 (row in the source),
    `source_offset` int64 (tokens of the text, special ones not counted, before this piece of it; 0 unless long texts
    are split) and `copy_of` int64 (the first row with the same tokens, -1 for that row itself). A split text's pieces
    hold their own part of the text. Of chat data the column of messages holds the text that the template made of them,
    and `chat_turns` where in it each message stands: JSON, a list of [first token, token behind the last, role]. Source
    columns of the last four names give way. Rows lie in the order in which
    they were taken. Beside them lies the `tokenizer.json` of the texts, if there is one.

    Rows are taken in the source's order, or shuffled; the first that would take the sum beyond settings.max_tokens
    ends the choice and is left out. Sources with `input_ids` are taken as they are: only order and sum apply.

    versions, stages: kept in tokens.json.
    The folder appears under its name when it is complete. Raises DatasetError, and StoreError for a full disk.
    """
    with new_folder(out) as folder:
        scratch = folder / "scratch"
        scratch.mkdir()
        opened = open_source(sources.source, settings, scratch)
        source = opened.table
        _check(source, sources, settings)
        chunks, tokeniser, template = _examples(source, sources, settings)
        special = None
        if tokeniser is not None:
            tokeniser.save(folder / TOKENIZER_JSON)
            special = tokeniser.special
        elif sources.tokenizer is not None:
            save_tokenizer(sources.tokenizer, folder / TOKENIZER_JSON)
            special = special_tokens(sources.tokenizer)
        totals = _write(up_to(chunks, settings.max_tokens), source, settings, scratch / "tokens.arrow")
        _refuse_empty(totals, len(source), sources.source.id, settings)
        _save(scratch / "tokens.arrow", folder, totals.fingerprint(settings))
        shutil.rmtree(scratch)
        record = TokenRecord(
            rows=len(totals.lengths),
            tokens=sum(totals.lengths),
            longest=max(totals.lengths),
            max_id=totals.max_id,
            fingerprint=totals.fingerprint(settings),
            settings=settings,
            source={"id": sources.source.id, "revision": opened.revision},
            tokenizer=_tokenizer_of(sources) if tokeniser else None,
            pretokenised=tokeniser is None,
            text_column=settings.column if settings.column in source.columns.types else None,
            dropped_empty=totals.empty,
            replaced_surrogates=opened.surrogates,
            copies=totals.copies,
            read_files=opened.read,
            skipped_files=opened.skipped,
            columns_as_text=source.columns.as_text,
            columns_left_out=source.columns.left_out,
            around=tokeniser.around if tokeniser and not template else None,
            special=special,
            tokenizer_differs=tokeniser.differs if tokeniser else None,
            without_turns=totals.without_turns if template else None,
            writes_date=template.writes_date if template else None,
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
    copies: int = 0
    without_turns: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    _first: dict[bytes, int] = field(default_factory=dict)

    def see(self, some: list[Taken]) -> None:
        """Count rows of the source."""
        self.seen += len(some)
        self.empty += sum(not taken.pieces for taken in some)
        self.without_turns += sum(taken.without_turns for taken in some)

    def add(self, token_ids: np.ndarray) -> int:
        """Take in an example; returns the first row with the same tokens, or -1 where it is the first."""
        ids, row = token_ids.astype("<i4").tobytes(), len(self.lengths)
        first = self._first.setdefault(hashlib.blake2b(ids, digest_size=16).digest(), row)
        self.lengths.append(len(token_ids))
        self.max_id = max(self.max_id, int(token_ids.max()))
        self.digest.update(ids)
        self.copies += first < row
        return first if first < row else -1

    def fingerprint(self, settings: TokenSettings) -> str:
        return seal(self.digest.digest(), np.array(self.lengths, np.int64), settings)


def _check(source: Table, sources: Sources, settings: TokenSettings) -> None:
    """What can be known before the first row is tokenised. Raises DatasetError."""
    where, column, columns = sources.source.id, settings.column, source.columns
    chat = settings.messages_column is not None
    key = "messages_column" if chat else "text_column"
    if len(source) == 0:
        raise DatasetError(where, "at least one text", "none", "check the source and its split")
    if IDS in columns.own:
        if chat or settings.bos is not None:
            name = "messages_column" if chat else "bos"
            step = f"leave `{name}` out: such data are taken as they are"
            raise DatasetError(where, f"texts, because `{name}` is set", "a source with `input_ids`", step)
        return
    if column not in columns.types:
        names = [*columns.types, *(f"{name} ({why})" for name, why in columns.left_out.items())]
        near = get_close_matches(column, columns.types, n=1, cutoff=0.0)
        step = f"set `{key}`, perhaps to {near[0]!r}" if near else "check the source"
        raise DatasetError(where, f"a column {column!r}", f"columns {', '.join(names) or 'without text'}", step)
    if sources.tokenizer is None:
        raise DatasetError(where, "a tokenizer for texts", "none", "add `tokenizer` to the data set's entry")


def _examples(
    source: Table, sources: Sources, settings: TokenSettings
) -> tuple[Iterator[list[Taken]], Tokeniser | None, ChatTemplate | None]:
    """All examples of the source, and what makes them of its rows: nothing where it has `input_ids`."""
    order = take_order(len(source), settings.shuffle_seed)
    if IDS in source.columns.own:
        return taken_over(source, order), None, None
    assert sources.tokenizer is not None
    tokeniser = Tokeniser(sources.tokenizer, settings.bos)
    if settings.messages_column is None:
        return tokenised(source, order, tokeniser, settings), tokeniser, None
    template = ChatTemplate(tokeniser.with_template, sources.tokenizer.id, settings)
    return rendered(source, order, tokeniser, template, settings), tokeniser, template


def _write(chunks: Iterator[list[Taken]], source: Table, settings: TokenSettings, path: Path) -> _Totals:
    """All examples into one Arrow stream."""
    import pyarrow as pa
    from datasets import Features

    # With the types of `datasets` in its metadata.
    schema = Features.from_arrow_schema(_schema(source, settings)).arrow_schema
    totals = _Totals()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for some in chunks:
            totals.see(some)
            examples = [(taken, piece) for taken in some for piece in taken.pieces]
            for first in range(0, len(examples), EXAMPLES_AT_ONCE):
                part = examples[first : first + EXAMPLES_AT_ONCE]
                columns = _source_columns(part, settings.column) | _own_columns(part, totals)
                writer.write_table(pa.table([columns[name] for name in schema.names], schema=schema))
    return totals


def _schema(source: Table, settings: TokenSettings) -> Any:
    """Of the token data set."""
    import pyarrow as pa

    kept = {name: pa.type_for_alias(kind) for name, kind in source.columns.types.items()}
    own = {IDS: pa.list_(pa.int32()), MASK: pa.list_(pa.int8())}
    own |= dict.fromkeys((SOURCE_ROW, SOURCE_OFFSET, COPY_OF), pa.int64())
    if settings.messages_column is not None:
        own[TURNS] = pa.string()
    return pa.schema({**kept, **own})


def _source_columns(examples: list[tuple[Taken, Piece]], text_column: str) -> dict[str, list[Any]]:
    """The source's columns; of a text that was split each example has its part."""
    columns = {name: [taken.row[name] for taken, _ in examples] for name in examples[0][0].row}
    if text_column in columns:
        texts = zip(columns[text_column], examples, strict=True)
        columns[text_column] = [text and text[piece.begin : piece.end] for text, (_, piece) in texts]
    return columns


def _own_columns(examples: list[tuple[Taken, Piece]], totals: _Totals) -> dict[str, Any]:
    """Those of a token data set. totals: take the examples in."""
    import pyarrow as pa

    pieces = [piece for _, piece in examples]
    ends = pa.array(np.cumsum([0, *(len(piece.ids) for piece in pieces)]).astype(np.int32))
    ids = np.concatenate([piece.ids for piece in pieces])
    return {
        IDS: pa.ListArray.from_arrays(ends, pa.array(ids)),
        MASK: pa.ListArray.from_arrays(ends, pa.array(np.ones(len(ids), np.int8))),
        SOURCE_ROW: [taken.source_row for taken, _ in examples],
        SOURCE_OFFSET: [piece.offset for piece in pieces],
        COPY_OF: [totals.add(piece.ids) for piece in pieces],
        TURNS: [json.dumps(piece.turns or [], ensure_ascii=False) for piece in pieces],
    }


def _refuse_empty(totals: _Totals, rows: int, where: str, settings: TokenSettings) -> None:
    if totals.lengths:
        return
    if settings.max_tokens is not None and totals.seen < rows:
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
    """All files, and those with the checksums of the Arrow files' parts, which are written first."""
    for path in folder.glob("*.arrow"):
        write_sums(path)
    files = sorted(path for path in folder.iterdir() if path.name != TOKENS_JSON)
    return [StoredFile(path.name, path.stat().st_size, file_sha256(path)) for path in files]

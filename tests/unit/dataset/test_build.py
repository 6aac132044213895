"""Token data sets against a plain reading of their definition: every option, every refusal, nothing half-written."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
from gluscope.core.errors import DatasetError, GluscopeError, StoreError
from gluscope.dataset import build as build_module
from gluscope.dataset.build import build
from gluscope.dataset.choose import Taken, take_order, up_to
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.record import TokenRecord, TokenSettings, seal
from gluscope.dataset.sources import fetch
from gluscope.dataset.tokenise import Piece
from helpers.settings import token_settings
from helpers.tiny_models import make, make_tokenizer
from helpers.token_rows import all_ids, all_texts
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

TEXTS = [
    "the cat sat on the mat and the dog sat by the door .",
    "Paris is the capital of France",
    "",
    "a neuron reads a token and writes a token . " * 8,
    "é ü 猫 👩‍💻",
    "one two three",
    "\0 <script> \u202e \u2028",
]
BOS = 0


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that knows of a BOS token and does not add it by itself."""
    return make_tokenizer(tmp_path_factory.mktemp("plain"), adds_bos=False)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer without a BOS token."""
    return make_tokenizer(tmp_path_factory.mktemp("without"), has_bos=False)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"id": 10 + i, "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    return file


def made(out: Path, source: Path, tokenizer: Path | None, **settings: Any) -> TokenDataset:
    build(out, fetch(str(source), str(tokenizer) if tokenizer else None), token_settings(**settings))
    return TokenDataset.open(out)


def fingerprint(ids: Sequence[Sequence[int]], settings: TokenSettings) -> str:
    """From whole rows."""
    flat = np.concatenate([np.array(row, "<i4") for row in ids])
    return seal(hashlib.sha256(flat.tobytes()).digest(), np.array([len(row) for row in ids]), settings)


def bodies(tokenizer: Path, texts: list[str]) -> list[list[int]]:
    """The texts' own tokens, by the tokenizers library alone."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    return [backend.encode(text, add_special_tokens=False).ids for text in texts]


def test_default_is_what_the_tokenizer_does(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    from transformers import AutoTokenizer

    data = made(tmp_path / "out", texts, tokenizer, max_length=24)
    own = AutoTokenizer.from_pretrained(tokenizer)
    expected = [own(text, truncation=True, max_length=24)["input_ids"] for text in TEXTS if text]
    assert all_ids(data) == expected
    assert data.lengths.tolist() == [len(ids) for ids in expected]
    assert data.lengths.dtype == np.int64
    assert data.record.dropped_empty == 1
    assert [data.metadata(row)["source_row"] for row in range(len(data))] == [0, 1, 3, 4, 5, 6]
    assert [data.metadata(row)["id"] for row in range(len(data))] == [10, 11, 13, 14, 15, 16]
    assert all_texts(data) == [text for text in TEXTS if text]


def test_record_says_what_is_stored(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    data = made(tmp_path / "out", texts, tokenizer, max_length=24)
    record, flat = data.record, [token for ids in all_ids(data) for token in ids]
    assert (record.rows, record.tokens, record.longest, record.max_id) == (6, len(flat), 24, max(flat))
    assert record.settings == token_settings(max_length=24)
    assert record.source["id"] == str(texts)
    assert record.tokenizer is not None
    assert record.tokenizer["id"] == str(tokenizer)
    assert record.fingerprint == fingerprint(all_ids(data), record.settings)
    for file in record.files:
        content = (tmp_path / "out" / file.name).read_bytes()
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert {file.name for file in record.files} == {path.name for path in (tmp_path / "out").iterdir()} - {
        "tokens.json"
    }


def test_datasets_opens_it(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    data = made(tmp_path / "out", texts, tokenizer, max_length=24)
    opened = datasets.load_from_disk(str(tmp_path / "out"))
    assert opened.column_names == [
        "id",
        "text",
        "input_ids",
        "attention_mask",
        "source_row",
        "source_offset",
        "copy_of",
    ]
    assert opened.format["type"] == "torch", "as the original tool saves its data set, and expects others"
    assert all(isinstance(row, torch.Tensor) for row in opened["input_ids"][:])
    assert [row.tolist() for row in opened["input_ids"][:]] == all_ids(data)
    assert [row.tolist() for row in opened["attention_mask"][:]] == [[1] * length for length in data.lengths]
    assert opened.features["input_ids"] == datasets.List(datasets.Value("int32"))


@pytest.mark.parametrize("bos", [None, True, False])
@pytest.mark.parametrize("kind", ["tokenizer", "plain", "without"])
@pytest.mark.parametrize("long_texts", ["truncate", "split"])
def test_bos_and_long_texts(
    tmp_path: Path, texts: Path, bos: bool | None, kind: str, long_texts: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    if bos and kind == "without":
        with pytest.raises(DatasetError, match="expected a beginning-of-sequence token"):
            made(tmp_path / "out", texts, folder, bos=bos)
        assert not (tmp_path / "out").exists()
        return
    data = made(tmp_path / "out", texts, folder, bos=bos, long_texts=long_texts, max_length=10)
    front = [BOS] if bos or (bos is None and kind == "tokenizer") else []
    expected, offsets = [], []
    for ids in bodies(folder, TEXTS):
        starts = range(0, len(ids), 10 - len(front))
        for start in starts if long_texts == "split" else starts[:1]:
            expected.append(front + ids[start : start + 10 - len(front)])
            offsets.append(start)
    assert all_ids(data) == expected
    assert [data.metadata(row)["source_offset"] for row in range(len(data))] == offsets


def test_a_split_texts_pieces_hold_their_part_of_it(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    data = made(tmp_path / "out", texts, tokenizer, long_texts="split", max_length=10)
    by_source: dict[int, list[str]] = {}
    for row, text in enumerate(all_texts(data)):
        by_source.setdefault(data.metadata(row)["source_row"], []).append(text)
    assert {row: "".join(parts) for row, parts in by_source.items()} == {
        i: text for i, text in enumerate(TEXTS) if text
    }
    first, second = by_source[0][:2]
    assert bodies(tokenizer, [first]) == [data.input_ids(0).tolist()[1:]]
    assert bodies(tokenizer, [second]) == [data.input_ids(1).tolist()[1:]]


def test_rows_are_taken_in_the_order_of_datasets_shuffle(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    data = made(tmp_path / "out", texts, tokenizer, shuffle_seed=5)
    shuffled = datasets.Dataset.from_dict({"i": range(len(TEXTS))}).shuffle(seed=5)["i"][:]
    assert [data.metadata(row)["source_row"] for row in range(len(data))] == [i for i in shuffled if TEXTS[i]]
    assert shuffled != sorted(shuffled)
    assert take_order(10, None).tolist() == list(range(10))


def test_choice_ends_before_the_row_that_would_pass_max_tokens(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    whole = made(tmp_path / "whole", texts, tokenizer, shuffle_seed=5)
    ends = np.cumsum(whole.lengths)
    for rows in range(1, len(whole) + 1):
        for tokens in (ends[rows - 1], (ends[rows] if rows < len(whole) else ends[-1] + 100) - 1):
            data = made(tmp_path / "out", texts, tokenizer, shuffle_seed=5, max_tokens=int(tokens))
            assert all_ids(data) == all_ids(whole)[:rows]
            assert data.record.tokens <= tokens


@given(st.lists(st.lists(st.integers(0, 4), max_size=5), max_size=6), st.integers(1, 40))
@hypothesis_settings(max_examples=200, deadline=None)
def test_max_tokens_does_not_see_how_rows_come(batches: list[list[int]], tokens: int) -> None:
    """Lengths of rows, some batches of them; 0 is an empty row, which is counted only if met before the end."""
    left, rows, empty = tokens, [], 0
    for length in [length for batch in batches for length in batch]:
        if length > left:
            break
        left -= length
        rows += [length] if length else []
        empty += length == 0
    some = [
        [Taken(i, {}, [Piece(np.zeros(length, np.int32))] if length else []) for i, length in enumerate(batch)]
        for batch in batches
    ]
    chosen = [taken for part in up_to(some, tokens) for taken in part]
    assert [len(piece.ids) for taken in chosen for piece in taken.pieces] == rows
    assert sum(not taken.pieces for taken in chosen) == empty


def test_same_input_gives_the_same_files(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    one = made(tmp_path / "one", texts, tokenizer, shuffle_seed=3).record
    two = made(tmp_path / "two", texts, tokenizer, shuffle_seed=3).record
    assert one == two
    other = made(tmp_path / "three", texts, tokenizer, shuffle_seed=4).record
    assert other.fingerprint != one.fingerprint


def test_fingerprint_sees_ids_cuts_and_settings() -> None:
    settings = token_settings()
    found = {
        fingerprint([[1, 2, 3]], settings),
        fingerprint([[1, 2, 4]], settings),
        fingerprint([[1], [2, 3]], settings),
        fingerprint([[1, 2, 3]], token_settings(bos=False)),
    }
    assert len(found) == 4


def test_saved_folders_with_and_without_splits(tmp_path: Path, tokenizer: Path) -> None:
    part = datasets.Dataset.from_dict({"body": ["one two", "three"], "tag": [["x"], []]})
    part.save_to_disk(str(tmp_path / "saved"))
    datasets.DatasetDict(train=part, test=part.select([1])).save_to_disk(str(tmp_path / "splits"))
    assert len(made(tmp_path / "a", tmp_path / "saved", tokenizer, text_column="body")) == 2
    data = made(tmp_path / "b", tmp_path / "splits", tokenizer, text_column="body", split="test")
    assert all_texts(data) == ["three"]
    assert data.metadata(0) == {"tag": "[]", "source_row": 0, "source_offset": 0}
    with pytest.raises(DatasetError, match=r"expected the split 'val', found train, test"):
        made(tmp_path / "c", tmp_path / "splits", tokenizer, text_column="body", split="val")
    with pytest.raises(DatasetError, match="expected the split 'val'"):
        made(tmp_path / "c", tmp_path / "saved", tokenizer, text_column="body", split="val")
    arrow = next((tmp_path / "saved").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:100])
    with pytest.raises(DatasetError, match="expected a folder written by save_to_disk"):
        made(tmp_path / "c", tmp_path / "saved", tokenizer, text_column="body")


@pytest.mark.parametrize("kind", ["int64", "int32", "uint16", "fixed"])
def test_pretokenised_rows_are_taken_as_they_are(tmp_path: Path, kind: str) -> None:
    rows = [[5, 6, 7], [8, 8, 8]] if kind == "fixed" else [[0, 300, 9], [7], [], [0] * 2000, None]
    inner = datasets.Value("int32" if kind == "fixed" else kind)
    features = datasets.Features({"input_ids": datasets.List(inner, length=3 if kind == "fixed" else -1)})
    datasets.Dataset.from_dict({"input_ids": rows}, features=features).save_to_disk(str(tmp_path / "in"))
    data = made(tmp_path / "out", tmp_path / "in", None)
    assert all_ids(data) == [row for row in rows if row]
    assert data.record.dropped_empty == sum(not row for row in rows)
    assert (data.record.pretokenised, data.record.tokenizer, data.record.text_column) == (True, None, None)
    assert data.input_ids(0).dtype == np.int32


def test_what_a_mask_hides_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    rows = [
        {"input_ids": [4, 5, 1, 1], "attention_mask": [1, 1, 0, 0], "text": "right"},
        {"input_ids": [1, 1, 6, 7], "attention_mask": [0, 0, 1, 1], "text": "left"},
        {"input_ids": [1, 1], "attention_mask": [0, 0], "text": "nothing"},
        {"input_ids": [8, 9], "attention_mask": [1, 1], "text": "whole"},
        {"input_ids": [3, 3], "text": "without"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = made(tmp_path / "out", file, None)
    assert all_ids(data) == [[4, 5], [6, 7], [8, 9], [3, 3]]
    assert all_texts(data)[:4] == ["right", "left", "whole", "without"]
    assert data.record.dropped_empty == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input_ids": [1, -5]}, r"line 2: expected token ids from 0 to 2147483647, found -5"),
        ({"input_ids": [2**31, 1]}, r"line 2: expected token ids from 0 to 2147483647, found 2147483648"),
        ({"input_ids": [1, None]}, r"line 2: expected token ids from 0 to 2147483647, found None"),
        ({"input_ids": [1, 2], "attention_mask": [1]}, r"line 2: expected an attention_mask as long .* one of 1 for 2"),
        ({"input_ids": [1, 2, 3], "attention_mask": [1, 0, 1]}, r"line 2: expected an attention_mask of 1"),
        ({"input_ids": [1, 2], "attention_mask": [1, 2]}, r"line 2: expected an attention_mask of 1"),
        ({"input_ids": [1.5]}, r"line 2: expected lists of whole numbers in `input_ids`, found \[1\.5\]"),
        ({"input_ids": "text"}, r"line 2: expected lists of whole numbers in `input_ids`, found text"),
    ],
)
def test_pretokenised_rows_that_cannot_be_are_named(tmp_path: Path, row: dict, message: str) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in ({"input_ids": [1, 2]}, row)))
    with pytest.raises(DatasetError, match=message):
        made(tmp_path / "out", file, None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_order_and_sum_apply_to_pretokenised_rows_too(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"input_ids": [[i] * 4 for i in range(50)]}).save_to_disk(str(tmp_path / "in"))
    data = made(tmp_path / "out", tmp_path / "in", None, shuffle_seed=1, max_tokens=43)
    assert [ids[0] for ids in all_ids(data)] == take_order(50, 1)[:10].tolist()
    with pytest.raises(DatasetError, match="leave `bos` out"):
        made(tmp_path / "out", tmp_path / "in", None, bos=True)


def test_a_data_set_made_here_is_a_source_itself(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    first = made(tmp_path / "first", texts, tokenizer, max_length=20, shuffle_seed=2)
    again = made(tmp_path / "again", tmp_path / "first", None)
    assert all_ids(again) == all_ids(first)
    assert [again.metadata(row)["source_row"] for row in range(len(again))] == list(range(len(first)))
    assert all_texts(again)[1] == all_texts(first)[1]


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([{"body": "x", "id": 1}], {}, r"expected a column 'text', found columns body, id\. Next: set `text_column`"),
        ([{"texts": "x"}], {}, r"perhaps to 'texts'"),
        ([{"text": 3}], {}, r"in.jsonl, line 1: expected a text in the column 'text', found 3 \(int\)"),
        ([{"text": "x"}, {"text": 3}], {}, r"in.jsonl, line 2: expected a text in the column 'text', found 3 \(int\)"),
        ([], {}, r"expected at least one text, found none"),
        ([{"text": ""}, {"text": None}, {"text": ""}], {}, r"expected a text with a token, found 3 without one"),
        ([{"text": "one two three"}], {"max_tokens": 2}, r"`max_tokens`, found a first one of more than 2 tokens"),
        ([{"text": "x"}], {"max_length": 1}, r"max_length: expected room for a token of the text, found 1"),
        ([{"text": "x"}], {"split": "test"}, r"expected no `split`, found 'test' for plain files"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, tokenizer: Path, rows: list, settings: dict, message: str
) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DatasetError, match=message) as caught:
        made(tmp_path / "out", file, tokenizer, **settings)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_no_tokenizer_is_said(tmp_path: Path, texts: Path) -> None:
    with pytest.raises(DatasetError, match="expected a tokenizer for texts, found none"):
        made(tmp_path / "out", texts, None)
    empty = tmp_path / "no-tokenizer"
    empty.mkdir()
    with pytest.raises(DatasetError, match=r"no-tokenizer: expected a tokenizer \(tokenizer\.json\)"):
        made(tmp_path / "out", texts, empty)
    (empty / "tokenizer.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"no-tokenizer: expected a tokenizer \(tokenizer\.json\)"):
        made(tmp_path / "out", texts, empty)


def test_a_models_own_folder_is_a_tokenizer(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    model = make("LlamaForCausalLM", tmp_path / "model", n_layers=1)
    assert all_ids(made(tmp_path / "a", texts, model)) == all_ids(made(tmp_path / "b", texts, tokenizer))


def test_lone_surrogates_do_not_stop_the_tokenizer(tmp_path: Path, tokenizer: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_bytes(rb'{"text": "a\ud800b"}')
    data = made(tmp_path / "out", file, tokenizer)
    assert all_texts(data)[0] == "a\ufffdb"
    assert all_ids(data) == [[BOS, *bodies(tokenizer, ["a\ufffdb"])[0]]]
    assert data.record.replaced_surrogates == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, texts: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build_module, "_checksums", full)
    with pytest.raises(StoreError, match="expected room to write it, found No space left on device"):
        made(tmp_path / "out", texts, tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.jsonl"]


def test_a_cut_job_leaves_what_was_there(
    tmp_path: Path, texts: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made(tmp_path / "out", texts, tokenizer).record

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(TokenRecord, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "out", texts, tokenizer, max_length=4)
    assert TokenDataset.open(tmp_path / "out").record == before
    assert {path.name for path in tmp_path.iterdir()} == {"texts.jsonl", "out"}
    after = made(tmp_path / "out", texts, tokenizer, max_length=4).record
    assert TokenDataset.open(tmp_path / "out").record == after != before


def test_an_empty_folder_made_beforehand_is_no_obstacle(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    (tmp_path / "out").mkdir()
    assert len(made(tmp_path / "out", texts, tokenizer)) == 6


def test_ids_beyond_the_models_vocabulary_are_refused(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    record = made(tmp_path / "out", texts, tokenizer).record
    record.check_fits(SimpleNamespace(n_vocab=record.max_id + 1, model="m"), "data")
    with pytest.raises(GluscopeError, match=f"token ids below {record.max_id}, the vocabulary of m, found id"):
        record.check_fits(SimpleNamespace(n_vocab=record.max_id, model="m"), "data")


def test_settings_are_those_of_the_config() -> None:
    from gluscope.config.keys import DatasetConfig

    config = DatasetConfig(name="n", source="s", max_length=7, bos=True, long_texts="split", shuffle_seed=1)
    assert TokenSettings.of(config) == token_settings(max_length=7, bos=True, long_texts="split", shuffle_seed=1)
    assert TokenSettings.of(DatasetConfig(name="n", source="s")) == token_settings()


def test_copies_name_the_first_row_with_their_tokens(tmp_path: Path, tokenizer: Path) -> None:
    texts = ["one two", "three", "one two", "", "three", "one", "one two", "a" * 500 + " one", "a" * 500 + " two"]
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps({"text": text, "id": i}) + "\n" for i, text in enumerate(texts)))
    data = made(tmp_path / "out", file, tokenizer, max_length=10)
    ids = all_ids(data)
    firsts = [ids.index(one) for one in ids]
    expected = [first if first < row else -1 for row, first in enumerate(firsts)]
    assert expected == [-1, -1, 0, 1, -1, 0, -1, 6]  # texts that are cut to the same tokens are copies as well
    assert datasets.load_from_disk(str(tmp_path / "out")).with_format(None)["copy_of"][:] == expected
    for start, stop in ((0, 8), (2, 5), (3, 3), (7, 8)):
        assert data.copies(start, stop).tolist() == [first >= 0 for first in expected[start:stop]]
    assert data.record.copies == 4
    assert "copy_of" not in data.metadata(2)
    file.write_text(file.read_text() + '{"text": "three"}\n{"text": "four"}\n')  # behind them nothing changes
    grown = made(tmp_path / "grown", file, tokenizer, max_length=10)
    assert grown.copies(0, 10).tolist() == [*data.copies(0, 8).tolist(), True, False]


def test_memory_for_a_split_text_is_in_proportion_to_it(tmp_path: Path, tokenizer: Path) -> None:
    text = "the cat sat on the mat . " * 20_000  # half a megabyte, thousands of pieces
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps({"text": text, "id": 7, "more": {"a": 1}}) + "\n")
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        data = made(tmp_path / "out", file, tokenizer, long_texts="split", max_length=12)
    finally:
        pa.set_memory_pool(before)
    assert len(data) > 5000
    assert "".join(all_texts(data)) == text
    assert {data.metadata(row)["more"] for row in range(0, len(data), 100)} == {'{"a": 1}'}
    assert pool.max_memory() < 40 * len(text)


def test_the_record_names_what_was_read_and_what_was_not(tmp_path: Path, tokenizer: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": "one", "tags": ["x"]}\n{"text": "one"}\n{"text": ""}\n')
    (folder / "notes.docx").write_text("x")
    for i in range(7):
        (folder / f".hidden{i}").write_text("x")
    record = made(tmp_path / "out", folder, tokenizer).record
    assert record.read_files == ["a.jsonl"]
    assert sorted(record.skipped_files) == [*(f".hidden{i}" for i in range(7)), "notes.docx"]
    assert record.columns_as_text == ["tags"]
    assert record.remarks[0].startswith("Files not read: .hidden0 (its name begins with a dot), ")
    assert record.remarks[0].endswith(" and 3 more, see tokens.json")
    assert record.remarks[1:] == [
        "Columns kept as text: tags",
        "Rows without a token, left out: 1",
        "Rows with the tokens of an earlier one: 1",
    ]

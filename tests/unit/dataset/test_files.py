"""Local files as sources: every kind, mixed columns, hostile text, and what is said about files that cannot be read."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gluscope.core.errors import DatasetError
from gluscope.dataset import table
from gluscope.dataset.arrow_rows import kind_of_type, table_rows
from gluscope.dataset.columns import Columns
from gluscope.dataset.files import digest, inside
from gluscope.dataset.raw import Surrogates
from gluscope.dataset.sources import Located, Opened, open_source
from helpers.settings import token_settings


def opened(source: Path, tmp_path: Path, **settings: str) -> Opened:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return open_source(Located(str(source), str(source)), token_settings(**settings), scratch)


def read(source: Path, tmp_path: Path, **settings: str) -> tuple[list[dict], Opened]:
    """All rows of a source, as they are stored."""
    found = opened(source, tmp_path, **settings)
    return [found.table.columns.stored(row) for _, row in found.table.take(np.arange(len(found.table)))], found


def refusal(source: Path, tmp_path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        opened(source, tmp_path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


HOSTILE = [
    "a\0b",
    "</script><script>alert(1)</script>",
    "\u202egnirts\u202c \u200f\u2066",
    "\u2028\u2029\x85\x0b\x0c\r",
    "\ufeff\ufffe\U0010ffff",
    "e\u0301\U0001f469\u200d\U0001f4bb",
    '"\\u0041" \\ {{7*7}} %s',
    " ",
]


def test_jsonl_of_one_file(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(lines({"text": "x", "id": 1}, {"text": "y", "id": 2})[:-1])
    rows, found = read(file, tmp_path)
    assert rows == [{"text": "x", "id": 1}, {"text": "y", "id": 2}]
    assert (found.surrogates, found.read, found.skipped) == (0, ["a.jsonl"], {})


def test_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    (folder / "b/1.jsonl").write_bytes(lines({"text": "second"}))
    (folder / "a.jsonl").write_bytes(lines({"text": "first"}))
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(lines({"text": "third"})))
    (folder / "README.md").write_text("not data")
    (folder / ".hidden.jsonl").write_bytes(lines({"text": "hidden"}))
    rows, found = read(folder, tmp_path)
    assert [row["text"] for row in rows] == ["first", "second", "third"]
    assert found.read == ["a.jsonl", "b/1.jsonl", "c.jsonl.gz"]
    assert found.skipped == {
        ".hidden.jsonl": "its name begins with a dot",
        "README.md": "no kind of file that is read, by its name",
    }


def test_json_file_may_be_a_list(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps([{"text": "x"}, {"text": "y", "n": 1}], indent=1))
    assert read(file, tmp_path)[0] == [{"text": "x", "n": None}, {"text": "y", "n": 1}]


def test_txt_file_is_one_text_just_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_bytes("one\r\n\ntwo\u2028\n".encode())
    (folder / "sub/b.txt").write_bytes(b"\xef\xbb\xbfthree")
    (folder / "sub/empty.txt").write_bytes(b"")
    rows, _ = read(folder, tmp_path)
    assert rows == [
        {"text": "one\r\n\ntwo\u2028\n", "file": "a.txt"},
        {"text": "three", "file": "sub/b.txt"},
        {"text": "", "file": "sub/empty.txt"},
    ]


@pytest.mark.parametrize("kind", ["jsonl", "ascii", "txt", "parquet", "csv", "tsv"])
def test_hostile_text_arrives_unchanged(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    if kind == "txt":
        for i, text in enumerate(HOSTILE):
            (folder / f"{i}.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    elif kind == "parquet":
        pq.write_table(pa.table({"text": HOSTILE}), folder / "a.parquet")
    elif kind in ("csv", "tsv"):
        with open(folder / f"a.{kind}", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="," if kind == "csv" else "\t", quoting=csv.QUOTE_ALL)
            writer.writerows([["text"], *([text] for text in HOSTILE)])
    else:
        rows = [json.dumps({"text": text}, ensure_ascii=kind == "ascii") for text in HOSTILE]
        (folder / "a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    rows, found = read(folder, tmp_path)
    assert [row["text"] for row in rows] == HOSTILE
    assert found.surrogates == 0


def test_lone_surrogates_become_the_replacement_character(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(
        rb'{"text": "a\ud800b\udfff", "m": {"k\udc00": ["\ud83d"]}}'
        + b"\n"
        + rb'{"text": "\ud83d\ude00 \\ud800"}'
        + b"\n"
    )
    rows, found = read(file, tmp_path)
    assert rows[0] == {"text": "a\ufffdb\ufffd", "m": '{"k\ufffd": ["\ufffd"]}'}
    assert rows[1]["text"] == "\U0001f600 \\ud800"
    assert found.surrogates == 4


def test_surrogates_are_counted_one_by_one() -> None:
    found = Surrogates()
    assert found.clean(["\ud800\ud800", {"\udfff": None}, 3, "fine"]) == ["\ufffd\ufffd", {"\ufffd": None}, 3, "fine"]
    assert found.replaced == 3


def test_columns_get_their_types_when_all_rows_were_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "ROWS_AT_ONCE", 2)
    rows = [
        {"text": "a", "n": 1, "m": {"x": 1}, "mixed": 1, "s": "t"},
        {"text": "b", "n": 2, "m": {"y": ["z"]}, "mixed": "s", "long": 2**53 + 1},
        {"text": "c", "n": None, "late": True, "big": 2**80, "e": {}, "exact": 2**53 + 1},
        {"text": "d", "n": 2.5, "m": {"x": 0.5}, "mixed": [1], "exact": 0.5},
        {"text": None},
    ]
    file = tmp_path / "a.jsonl"
    file.write_bytes(lines(*rows))
    found, opened = read(file, tmp_path)
    columns = {name: [row[name] for row in found] for name in found[0]}
    assert columns == {
        "text": ["a", "b", "c", "d", None],
        "n": [1.0, 2.0, None, 2.5, None],
        "m": ['{"x": 1}', '{"y": ["z"]}', None, '{"x": 0.5}', None],
        "mixed": ["1", "s", None, "[1]", None],
        "s": ["t", None, None, None, None],
        "long": [None, 2**53 + 1, None, None, None],
        "late": [None, None, True, None, None],
        "big": [None, None, str(2**80), None, None],
        "e": [None, None, "{}", None, None],
        "exact": [None, None, str(2**53 + 1), "0.5", None],  # no float holds it
    }
    assert sorted(opened.table.columns.as_text) == ["big", "e", "exact", "m", "mixed"]


def test_keys_that_differ_from_row_to_row_are_left_out_by_name(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(lines({"text": "a"}, *({f"id{i}": i} for i in range(1100))))
    rows, found = read(file, tmp_path)
    assert len(rows[0]) == 1000
    assert len(found.table.columns.left_out) == 101
    assert found.table.columns.left_out["id1099"] == "more than 1000 columns"


def test_parquet_files_with_other_columns_are_joined(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(pa.table({"text": ["a"], "c": pa.array(["k"]).dictionary_encode(), "n": [1]}), folder / "1.parquet")
    pq.write_table(pa.table({"d": [1.5], "text": ["b"], "n": ["x"]}), folder / "2.parquet")
    rows, found = read(folder, tmp_path)
    assert rows == [{"text": "a", "c": "k", "n": "1", "d": None}, {"text": "b", "c": None, "n": "x", "d": 1.5}]
    assert found.table.columns.as_text == ["n"]


def odd_columns() -> dict[str, tuple[pa.Array, list | None]]:
    """Columns that nobody asked for, of kinds that Arrow or `datasets` trip over; what is kept of each, if anything."""
    uuid = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"a" * 16, None], pa.binary(16)))
    ends, data = pa.array([0, 1, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xffc")
    return {
        "decimal": (pa.array([Decimal("1.50"), None]), ["1.50", None]),
        "ns": (pa.array([1, None], pa.timestamp("ns")), ["1970-01-01 00:00:00.000000001", None]),
        "year 200000": (pa.array([2**62, None], pa.timestamp("us")), None),
        "zone": (pa.array([0, None], pa.timestamp("s", "Asia/Kathmandu")), ["1970-01-01 05:30:00+05:30", None]),
        "no zone": (pa.array([0, None], pa.timestamp("s", "Mars/Olympus")), None),
        "interval": (pa.array([(1, 2, 3), None], pa.month_day_nano_interval()), None),
        "map": (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())), ['[["k", 1]]', None]),
        "struct": (pa.array([{"a": [1]}, None]), ['{"a": [1]}', None]),
        "list of views": (pa.array([["a"], None], pa.list_(pa.string_view())), ['["a"]', None]),
        "union": (
            pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
            ["1", "b"],
        ),
        "run ends": (pa.RunEndEncodedArray.from_arrays([2], ["x"]), ["x", "x"]),
        "half": (pa.array(np.array([0.5, 2], np.float16)), [0.5, 2.0]),
        "nothing": (pa.nulls(2), [None, None]),
        "large": (pa.array(["a", None], pa.large_string()), ["a", None]),
        "broken text": (pa.StringArray.from_buffers(2, ends, data), ["a", "\ufffdc"]),
        "bytes": (pa.array([b"\xff", None]), None),
        "image": (pa.array([{"bytes": b"\xff", "path": "a.png"}, None]), None),
        "uuid": (uuid, None),
    }


@pytest.mark.parametrize("name", list(odd_columns()))
def test_a_column_that_nobody_asked_for_never_stops_a_run(tmp_path: Path, name: str) -> None:
    column, kept = odd_columns()[name]
    whole = pa.table({"text": ["a", "b"], name: column})
    columns = Columns.of({name: {kind_of_type(whole.schema.field(name).type)} for name in whole.schema.names}, "text")
    saved = table_rows(whole, ["row 0", "row 1"], "text")
    ways = [([columns.stored(row) for row in saved], columns.left_out)]
    with suppress(pa.ArrowException, NotImplementedError):  # parquet has no form for some
        pq.write_table(whole, tmp_path / "a.parquet")
        rows, found = read(tmp_path / "a.parquet", tmp_path)
        ways.append((rows, found.table.columns.left_out))
    for rows, left_out in ways:
        assert [row["text"] for row in rows] == ["a", "b"]
        assert (name in rows[0]) != (name in left_out)
        assert list(left_out) == ([name] if name in ("bytes", "image", "uuid") else [])
        if kept is not None:
            assert [row[name] for row in rows] == kept


def test_bytes_that_are_not_utf8_are_named_with_their_offset(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("déjà ".encode() + b"vu \xe9")
    assert f"{file}: expected UTF-8, found byte 0xe9 at offset 10" in refusal(file, tmp_path)
    good = lines({"text": "x"})
    for name, pack in (("a.jsonl", bytes), ("a.jsonl.gz", gzip.compress)):
        file = tmp_path / name
        file.write_bytes(pack(good + b'{"text": "\xff"}\n'))
        assert f"{file}: expected UTF-8, found byte 0xff at offset {len(good) + 10}" in refusal(file, tmp_path)


def test_parquet_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    ends, data = pa.array([0, 1, 4], pa.int32()).buffers()[1], pa.py_buffer(b"ab\xffc")
    pq.write_table(pa.table({"text": pa.StringArray.from_buffers(2, ends, data)}), file)
    assert f"{file}, row 1, column 'text': expected UTF-8, found byte 0xff at offset 1" in refusal(file, tmp_path)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b'{"text": "a"}\n{"text": \n', "line 2"),
        (b'{"text": "a"}\n\n["b"]\n', "line 3"),
        (b'"b"\n', "line 1"),
        (b"[" * 100_000 + b"\n", "line 1"),
    ],
)
def test_what_is_no_json_object_is_named_by_line(tmp_path: Path, content: bytes, place: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    message = refusal(file, tmp_path)
    assert message.startswith(f"{file}, {place}: expected a JSON object")
    assert "\n" not in message


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"text": ["a" * 1000, "b"]}), whole)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-30])
    assert refusal(cut, tmp_path).startswith(f"{cut}: expected a whole parquet file")
    packed = tmp_path / "cut.jsonl.gz"
    packed.write_bytes(gzip.compress(lines(*({"text": str(i) * 50} for i in range(100))))[:-40])
    assert refusal(packed, tmp_path).startswith(f"{packed}: expected a whole gzip file")
    packed.write_bytes(b"no gzip")
    assert refusal(packed, tmp_path).startswith(f"{packed}: expected a whole gzip file")


def test_no_files_and_several_kinds_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert "found none" in refusal(folder, tmp_path)
    (folder / "a.txt").write_text("x")
    (folder / "b.jsonl").write_bytes(lines({"text": "x"}))
    assert "found jsonl (b.jsonl) and txt (a.txt)" in refusal(folder, tmp_path)
    (tmp_path / "texts.docx").write_bytes(b"PK")
    assert "expected a file named .jsonl, .ndjson, .json, .csv," in refusal(tmp_path / "texts.docx", tmp_path)


def test_digest_sees_names_and_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    first = digest(folder, inside(folder))
    (folder / ".ignored").write_text("x")
    assert digest(folder, inside(folder)) == first
    (folder / "a.txt").write_text("two")
    changed = digest(folder, inside(folder))
    (folder / "a.txt").rename(folder / "b.txt")
    assert len({first, changed, digest(folder, inside(folder))}) == 3
    assert opened(folder, tmp_path).revision == digest(folder, inside(folder))


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def packed(kind: str, data: bytes) -> bytes:
    if kind in PACKERS:
        return PACKERS[kind](data)
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_packed_files_are_read_and_broken_ones_are_named(tmp_path: Path, kind: str) -> None:
    rows = [{"text": f"{i} é"} for i in range(3000)]
    whole = packed(kind, lines(*rows[:2000])) + packed(kind, lines(*rows[2000:]))  # as `cat` joins them
    file = tmp_path / f"My Texts v1.2.JSONL.{kind.upper()}"
    file.write_bytes(whole)
    assert read(file, tmp_path)[0] == rows
    for broken in (whole[:-40], b"nothing of the kind", whole[: len(whole) // 3]):
        file.write_bytes(broken)
        assert refusal(file, tmp_path).startswith(f"{file}: expected a whole ")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "txt"])
def test_text_in_the_encoding_that_its_mark_says(tmp_path: Path, encoding: str, kind: str) -> None:
    texts = ["one\n", "zwei é 猫 \U0001f469"]
    body = {
        "jsonl": "".join(json.dumps({"text": text}, ensure_ascii=False) + "\r\n" for text in texts),
        "json": json.dumps([{"text": text} for text in texts], ensure_ascii=False, indent=1),
        "csv": "id,text\r\n" + "".join(f'{i},"{text}"\r\n' for i, text in enumerate(texts)),
        "txt": "".join(texts),
    }[kind]
    mark = "" if encoding in ("utf-8-sig", "utf-16", "utf-32") else "\ufeff"
    file = tmp_path / f"a.{kind}"
    file.write_bytes((mark + body).encode(encoding))
    assert "".join(row["text"] for row in read(file, tmp_path)[0]) == "".join(texts)


def test_utf16_without_a_mark_or_cut_short_is_said(tmp_path: Path) -> None:
    for name, start in (("a.jsonl", '{"text": "x"}\n'), ("a.csv", "text\nx\n")):
        file = tmp_path / name
        file.write_bytes(start.encode("utf-16-le"))
        assert "perhaps UTF-16 without a byte order mark" in refusal(file, tmp_path)
    file.write_bytes("text\nx".encode("utf-16")[:-1])
    assert "expected UTF-16, as its first bytes say, found truncated data" in refusal(file, tmp_path)


@pytest.mark.parametrize("mark", list(",;\t|"))
def test_csv_as_spreadsheets_write_it(tmp_path: Path, mark: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(mark.join(["id", "text"]).encode() + b"\r\n" + mark.join(["7", '"a, ""b""; \n| \tc"']).encode())
    assert read(file, tmp_path)[0] == [{"id": "7", "text": 'a, "b"; \n| \tc'}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,text\n1,a\n2\n", "line 3: expected 2 fields, as its first line has, found 1"),
        ("id,text\n1,a\n2,b,c\n", "line 3: expected 2 fields, as its first line has, found 3"),
        ('text\n"a\n', "line 2: expected rows of values, found unexpected end of data"),
    ],
)
def test_csv_that_does_not_fit_is_named_by_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(content)
    assert message in refusal(file, tmp_path)


def test_json_over_many_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"text": "x", "more": [1]}, indent=2))
    assert read(file, tmp_path)[0] == [{"text": "x", "more": "[1]"}]
    file.write_bytes(b'{"text": "a"}\n{"text": "b"}\n')
    assert [row["text"] for row in read(file, tmp_path)[0]] == ["a", "b"]
    file.write_bytes(b'{"text": \n{"text": "b"}\n')
    assert f"{file}, line 1: expected a JSON object" in refusal(file, tmp_path)


def test_links_are_followed_and_one_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    folder, other = tmp_path / "in", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "b.jsonl").write_bytes(lines({"text": "behind a link"}))
    (folder / "a.jsonl").symlink_to(other / "b.jsonl")
    (folder / "part").symlink_to(other)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "gone.md").symlink_to(folder / "nothing")
    rows, found = read(folder, tmp_path)
    assert [row["text"] for row in rows] == ["behind a link"] * 2
    assert found.read == ["a.jsonl", "part/b.jsonl"]
    assert found.skipped == {
        "gone.md": "a link that leads nowhere",
        "loop": "a link to a folder that it lies in",
        "pipe.jsonl": "no plain file",
    }
    (folder / "c.jsonl").symlink_to(folder / "nothing")
    assert f"{folder}/c.jsonl: expected a file behind the link, found none" in refusal(folder, tmp_path)


def test_a_folder_under_git_has_its_files_alone(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / ".git/objects").mkdir(parents=True)
    (folder / ".git/objects/a.txt").write_text("not a text")
    (folder / "a.txt").write_text("a text")
    rows, found = read(folder, tmp_path)
    assert [row["text"] for row in rows] == ["a text"]
    assert found.skipped == {".git": "its name begins with a dot"}
    assert inside(folder) == [folder / "a.txt"]


CARD = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: 'b*'\n---\n"


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "csv", "parquet"])
def test_a_copy_of_a_hubs_data_set_has_its_splits(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "in"
    (folder / "data").mkdir(parents=True)
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        content = {"parquet": parquet_of, "csv": csv_of}.get(ending, jsonl_of)(name)
        file = folder / f"data/{name}.{ending}"
        file.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    rows, found = read(folder, tmp_path)
    assert [row["text"] for row in rows] == ["train-00000-of-00002", "train-00001-of-00002"]
    assert found.read == [f"data/train-0000{i}-of-00002.{ending}" for i in range(2)]
    assert found.skipped == {f"data/test-00000-of-00001.{ending}": "of the split test"}
    assert [row["text"] for row in read(folder, tmp_path, split="test")[0]] == ["test-00000-of-00001"]
    with pytest.raises(DatasetError, match="expected the split 'val', found train, test"):
        opened(folder, tmp_path, split="val")


def jsonl_of(text: str) -> bytes:
    return lines({"text": text, "mixed": 1 if text.startswith("test") else "s"})


def csv_of(text: str) -> bytes:
    return f"text\n{text}\n".encode()


def parquet_of(text: str) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": [text]}), out)
    return out.getvalue()


def test_a_card_says_which_files_are_data(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.jsonl").write_bytes(lines({"text": name}))
    (folder / "README.md").write_text(CARD)
    rows, found = read(folder, tmp_path)
    assert [row["text"] for row in rows] == ["b"]
    assert found.skipped == {"README.md": "of no split", "a.jsonl": "of no split", "c.jsonl": "of no split"}


@pytest.mark.parametrize("names", [["test notes.txt", "train.txt"], ["a.jsonl", "test-set.jsonl"], ["dev.jsonl"]])
def test_names_alone_make_no_splits_without_a_train(tmp_path: Path, names: list[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(lines({"text": name}))
    assert len(read(folder, tmp_path)[0]) == len(names)

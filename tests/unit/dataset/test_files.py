"""Local files as sources: every kind, mixed columns, hostile text, and what is said about files that cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gluscope.core.errors import DatasetError
from gluscope.dataset import jsonl
from gluscope.dataset.files import Written, digest, write_arrow
from gluscope.dataset.raw import Surrogates


def read(source: Path, tmp_path: Path) -> tuple[list[dict], Written]:
    out = tmp_path / "out.arrow"
    written = write_arrow(source, out)
    with pa.memory_map(str(out)) as file:
        return pa.ipc.open_stream(file).read_all().to_pylist(), written


def refusal(source: Path, tmp_path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        write_arrow(source, tmp_path / "out.arrow")
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
    assert read(file, tmp_path) == ([{"text": "x", "id": 1}, {"text": "y", "id": 2}], Written())


def test_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    (folder / "b/1.jsonl").write_bytes(lines({"text": "second"}))
    (folder / "a.jsonl").write_bytes(lines({"text": "first"}))
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(lines({"text": "third"})))
    (folder / "README.md").write_text("not data")
    (folder / ".hidden.jsonl").write_bytes(lines({"text": "hidden"}))
    rows, _ = read(folder, tmp_path)
    assert [row["text"] for row in rows] == ["first", "second", "third"]


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


@pytest.mark.parametrize("kind", ["jsonl", "ascii", "txt", "parquet"])
def test_hostile_text_arrives_unchanged(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    if kind == "txt":
        for i, text in enumerate(HOSTILE):
            (folder / f"{i}.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    elif kind == "parquet":
        pq.write_table(pa.table({"text": HOSTILE}), folder / "a.parquet")
    else:
        rows = [json.dumps({"text": text}, ensure_ascii=kind == "ascii") for text in HOSTILE]
        (folder / "a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    rows, written = read(folder, tmp_path)
    assert [row["text"] for row in rows] == HOSTILE
    assert written.surrogates == 0


def test_lone_surrogates_become_the_replacement_character(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(
        rb'{"text": "a\ud800b\udfff", "m": {"k\udc00": ["\ud83d"]}}'
        + b"\n"
        + rb'{"text": "\ud83d\ude00 \\ud800"}'
        + b"\n"
    )
    rows, written = read(file, tmp_path)
    assert rows[0] == {"text": "a\ufffdb\ufffd", "m": {"k\ufffd": ["\ufffd"]}}
    assert rows[1]["text"] == "\U0001f600 \\ud800"
    assert written.surrogates == 4


def test_surrogates_are_counted_one_by_one() -> None:
    found = Surrogates()
    assert found.clean(["\ud800\ud800", {"\udfff": None}, 3, "fine"]) == ["\ufffd\ufffd", {"\ufffd": None}, 3, "fine"]
    assert found.replaced == 3


def test_columns_are_joined_over_rows_files_and_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "ROWS_AT_ONCE", 2)
    rows = [
        {"text": "a", "n": 1, "m": {"x": 1}, "mixed": 1},
        {"text": "b", "n": 2, "m": {"y": ["z"]}, "mixed": "s"},
        {"text": "c", "n": None, "late": True, "big": 2**80, "e": {}},
        {"text": "d", "n": 2.5, "m": {"x": 0.5}, "mixed": [1]},
        {"text": None},
    ]
    file = tmp_path / "a.jsonl"
    file.write_bytes(lines(*rows))
    found, written = read(file, tmp_path)
    assert [row["text"] for row in found] == ["a", "b", "c", "d", None]
    assert [row["n"] for row in found] == [1, 2, None, 2.5, None]
    assert [row["m"] for row in found] == [
        {"x": 1, "y": None},
        {"x": None, "y": ["z"]},
        None,
        {"x": 0.5, "y": None},
        None,
    ]
    assert [row["late"] for row in found] == [None, None, True, None, None]
    assert [row["mixed"] for row in found] == ["1", '"s"', None, "[1]", None]
    assert (found[2]["big"], found[2]["e"]) == (str(2**80), "{}")
    assert written.mixed == {"mixed", "big", "e"}


def test_a_whole_number_that_no_float_holds_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "ROWS_AT_ONCE", 1)
    file = tmp_path / "a.jsonl"
    file.write_bytes(lines({"text": "a", "n": 2**53 + 1}, {"text": "b", "n": 0.5}))
    rows, written = read(file, tmp_path)
    assert [row["n"] for row in rows] == [str(2**53 + 1), "0.5"]
    assert written.mixed == {"n"}


def test_parquet_files_with_other_columns_are_joined(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(pa.table({"text": ["a"], "c": pa.array(["k"]).dictionary_encode()}), folder / "1.parquet")
    pq.write_table(pa.table({"d": [1.5], "text": ["b"]}), folder / "2.parquet")
    assert read(folder, tmp_path)[0] == [{"text": "a", "c": "k", "d": None}, {"text": "b", "c": None, "d": 1.5}]


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
    assert "found jsonl and txt" in refusal(folder, tmp_path)


def test_digest_sees_names_and_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    first = digest(folder)
    (folder / ".ignored").write_text("x")
    assert digest(folder) == first
    (folder / "a.txt").write_text("two")
    changed = digest(folder)
    (folder / "a.txt").rename(folder / "b.txt")
    assert len({first, changed, digest(folder)}) == 3

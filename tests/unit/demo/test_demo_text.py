"""The demo's texts, and the model trained on them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import demo_text
import pytest
from gluscope.core.errors import DatasetError
from gluscope.demo.text import LONGEST, SHORTEST, Document, iter_documents
from gluscope.store.listing import own_listing
from train_demo import is_held_out

DEMO = Path(__file__).parents[3] / "config" / "demo"


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(iter_documents())


def test_written_file_holds_the_same_documents_in_the_same_order(documents: list[Document], tmp_path: Path) -> None:
    path = tmp_path / "new" / "demo.jsonl"
    demo_text.main(SimpleNamespace(output=[str(path)], threads=1, log=[]))
    rows = [json.loads(line) for line in path.read_bytes().decode("utf-8").split("\n")[:-1]]
    assert rows == [{"text": document.text, "source": document.source} for document in documents]
    assert {file.name for file in path.parent.iterdir()} == {"demo.jsonl", own_listing(path)}


def test_enough_text_of_every_kind(documents: list[Document]) -> None:
    size = {"topic": 0, "docstring": 0, "comment": 0}
    for document in documents:
        size[document.source.split(":")[0]] += len(document.text)
    assert sum(size.values()) > 1_500_000  # about 3.5 characters a token: over 400,000 tokens
    assert min(size.values()) > 200_000


def test_no_duplicates_and_readable_sizes(documents: list[Document]) -> None:
    assert len({" ".join(document.text.split()).lower() for document in documents}) == len(documents)
    assert all(SHORTEST <= len(document.text) <= LONGEST for document in documents)
    assert not [c for document in documents for c in document.text if c != "\n" and ord(c) < 32]


def test_known_texts_are_there(documents: list[Document]) -> None:
    by_source = {document.source: document.text for document in documents}
    assert by_source["docstring: textwrap.dedent"].startswith("Remove any common leading whitespace")
    assert 'The "pass" statement' in by_source["topic: pass"]
    assert not [source for source in by_source if "site-packages" in source or ": test." in source]


def _library(root: Path, **files: str) -> Path:
    for name, source in files.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return root


def test_what_is_taken_from_a_source_file(tmp_path: Path) -> None:
    long = "words that say something about the code below, at some length"
    library = _library(
        tmp_path,
        b__c=f'"""Module: {long}."""\n#!x\n# ------\n#   Comment: {long}\n#     indented\n\n# x = [{"1, " * 40}]\n'
        f'class A:\n    def f(self):\n        """Method: {long}."""\n        if self:\n            def g():\n'
        f'                """Nested: {long}."""\n',
        a=f'x = """\n# in a string: {long}\n"""\n# SAME: {long}\ny = 1\n#  same:  {long}\n',
        broken="def (:\n",
        control=f'"""NUL \\x00 and {long}."""\n"""lone \\ud800 {long}"""\n',
        tests__a=f'"""Left out: {long}."""\n',
    )
    assert [(document.source, document.text) for document in iter_documents(library)] == [
        ("comment: a, line 4", f"SAME: {long}"),
        ("docstring: b.c", f"Module: {long}."),
        ("comment: b.c, line 3", f"Comment: {long}\n  indented"),
        ("docstring: b.c.A.f", f"Method: {long}."),
        ("docstring: b.c.A.f.g", f"Nested: {long}."),
    ]


def test_long_texts_are_cut_between_paragraphs(tmp_path: Path) -> None:
    paragraphs = ["\n".join(f"paragraph {p} line {line} of some words" for line in range(12)) for p in range(9)]
    library = _library(tmp_path, a='"""' + "\n\n".join(paragraphs) + '"""\n')
    found = list(iter_documents(library))
    assert [document.source for document in found] == [f"docstring: a ({number})" for number in (1, 2, 3)]
    assert "\n\n".join(document.text for document in found) == "\n\n".join(paragraphs)


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="sources installed"):
        list(iter_documents(tmp_path))


def test_held_out_part(documents: list[Document]) -> None:
    part = sum(is_held_out(document.text) for document in documents) / len(documents)
    assert 0.03 < part < 0.07


def test_demo_folder_is_small() -> None:
    assert sum(file.stat().st_size for file in DEMO.rglob("*") if file.is_file()) < 9_000_000


def test_demo_model_predicts_texts_it_was_not_trained_on(documents: list[Document]) -> None:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO / "model", local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        DEMO / "model", dtype=torch.float32, local_files_only=True
    )
    texts = [document.text for document in documents if is_held_out(document.text)][::8]
    total, count = 0.0, 0
    with torch.inference_mode():
        for text in texts:
            ids = tokenizer(text, return_tensors="pt").input_ids
            assert ids[0, 0] == tokenizer.bos_token_id
            assert tokenizer.decode(ids[0, 1:]) == text
            total += model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
            count += ids.shape[1] - 1
    assert model.config.architectures == ["OlmoForCausalLM"]
    # Uniform guessing over 4096 tokens has 8.3; token frequencies alone about 6.5.
    assert total / count < 4.0 < math.log(model.config.vocab_size) / 2

"""Which tokenizer tokenises: tokenizer.json itself, whatever class transformers builds for the folder's model type."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from gluscope.dataset import tokenise
from gluscope.dataset.build import build
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.record import TokenRecord
from gluscope.dataset.sources import Located, fetch
from gluscope.dataset.tokenise import Tokeniser
from helpers.byte_level import byte_level
from helpers.settings import token_settings
from helpers.token_rows import all_ids
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

TEXTS = [
    "the cat sat on the mat",
    "  two spaces before, one behind ",
    "it's 1234 o'clock\n\n\tand\r\n",
    "ÉCLAIR 猫 \U0001f469\u200d\U0001f4bb ﬁ",
    "<s> not a token of ours </s>",
    "the<pad>cat",
]
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>"]


def gpt(prefix_space: bool = False) -> Tokenizer:
    return byte_level(TEXTS, SPECIAL, 300, prefix_space)


def llama() -> Tokenizer:
    """BPE as Llama 2 has it: spaces as ▁, one before every text, bytes for what is unknown, <s> before a text."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=[*SPECIAL, *byte_tokens], show_progress=False)
    made.train_from_iterator(TEXTS[:2] * 3, trainer)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 0)])
    return made


def folder_of(folder: Path, tokenizer: Tokenizer, model_type: str, **config: Any) -> Path:
    """A model's folder with its tokenizer, as people save it."""
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, **config}))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "architectures": ["X"]}))
    return folder


def made(folder: Path, out: Path, **settings: Any) -> tuple[list[list[int]], TokenRecord]:
    source = out.with_suffix(".jsonl")
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    record = build(out, fetch(str(source), str(folder)), token_settings(**settings))
    data = TokenDataset.open(out)
    return all_ids(data), record


def straight(folder: Path, **how: Any) -> list[list[int]]:
    """By the tokenizers library alone."""
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return [own.encode(text, **how).ids for text in TEXTS]


MODEL_TYPES = ["llama", "qwen2", "gemma", "mistral", "gpt2", "olmo", "no-such-type"]


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("kind", [llama, gpt])
def test_the_files_tokens_are_taken_under_every_model_type(tmp_path: Path, kind: Any, model_type: str) -> None:
    """The file's special tokens around a text as well, and its prefix space."""
    folder = folder_of(tmp_path / "model", kind(), model_type)
    ids, record = made(folder, tmp_path / "out")
    assert ids == straight(folder)
    assert record.around == {"prefix": [0] if kind is llama else [], "suffix": []}


@pytest.mark.parametrize("named", ["LlamaTokenizer", "Qwen2Tokenizer", "GPT2Tokenizer", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize("kind", [llama, gpt])
def test_nor_does_the_class_that_the_folder_names_matter(tmp_path: Path, kind: Any, named: str) -> None:
    folder = folder_of(tmp_path / "model", kind(), "llama", tokenizer_class=named)
    ids, _ = made(folder, tmp_path / "out")
    assert ids == straight(folder)


def test_the_record_says_where_transformers_would_have_made_others(tmp_path: Path) -> None:
    """Counted by a second reading with AutoTokenizer."""
    from transformers import AutoTokenizer

    told = 0
    for i, (kind, model_type) in enumerate([(llama, "qwen2"), (gpt, "llama"), (llama, "llama")]):
        folder = folder_of(tmp_path / f"model{i}", kind(), model_type)
        _, record = made(folder, tmp_path / f"out{i}")
        auto, own = AutoTokenizer.from_pretrained(folder), straight(folder, add_special_tokens=False)
        others = sum(
            auto(text, add_special_tokens=False)["input_ids"] != ids for text, ids in zip(TEXTS, own, strict=True)
        )
        words = record.tokenizer_differs or ""
        assert (f"other tokens in {others} of {len(TEXTS)} texts" in words) == bool(others)
        assert (record.tokenizer_differs is not None) == any(
            "tokenizer.json was taken" in line for line in record.remarks
        )
        told += bool(others)
    assert told >= 1


@pytest.mark.parametrize("config", [{}, {"add_bos_token": False}, {"add_bos_token": True, "add_eos_token": True}])
@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
def test_the_file_says_what_stands_around_a_text_unless_the_data_set_does(
    tmp_path: Path, config: dict, model_type: str
) -> None:
    """transformers 5 takes no notice of `add_bos_token` beside a tokenizer.json either."""
    from transformers import AutoTokenizer

    folder = folder_of(tmp_path / "model", llama(), model_type, **config)
    ids, record = made(folder, tmp_path / "out")
    assert ids == straight(folder)
    assert record.around == {"prefix": [0], "suffix": []}
    assert AutoTokenizer.from_pretrained(folder)("the cat")["input_ids"][0] == 0
    inner = straight(folder, add_special_tokens=False)
    assert made(folder, tmp_path / "with", bos=True)[0] == [[0, *own] for own in inner]
    assert made(folder, tmp_path / "without", bos=False)[0] == inner


def test_padding_and_truncation_of_the_file_do_not_matter(tmp_path: Path) -> None:
    tokenizer = gpt(prefix_space=True)
    plain = folder_of(tmp_path / "plain", tokenizer, "llama")
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=50)
    folder = folder_of(tmp_path / "model", tokenizer, "llama")
    assert made(folder, tmp_path / "out")[0] == straight(plain)


def test_without_the_file_its_tokens_lie_beside_the_texts_for_pages(tmp_path: Path) -> None:
    tokenizer = gpt()
    folder = folder_of(tmp_path / "model", tokenizer, "qwen2", tokenizer_class="Qwen2Tokenizer")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "".join(" ".join(pair) + "\n" for pair in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges)
    ids, record = made(folder, tmp_path / "out")
    assert straight(tmp_path / "out", add_special_tokens=False) == ids
    assert record.tokenizer_differs is None


def test_texts_that_came_as_tokens_get_the_tokenizer_that_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", llama(), "llama")
    source = tmp_path / "ids.jsonl"
    source.write_text('{"input_ids": [5, 6]}\n')
    build(tmp_path / "out", fetch(str(source), str(folder)), token_settings())
    assert straight(tmp_path / "out") == straight(folder)
    assert "tokenizer.json" in {file.name for file in TokenRecord.read(tmp_path / "out").files}


def test_long_texts_are_tokenised_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "model", gpt(), "qwen2")
    whole = Tokeniser(Located("m", str(folder)), None).pieces(TEXTS, token_settings())
    monkeypatch.setattr(tokenise, "CHARACTERS_AT_ONCE", 30)
    some = Tokeniser(Located("m", str(folder)), None).pieces(TEXTS, token_settings())
    ids = [[[piece.ids.tolist() for piece in pieces] for pieces in found] for found in (some, whole)]
    assert ids[0] == ids[1]
    shutil.rmtree(folder)

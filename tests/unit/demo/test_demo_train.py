"""The script that trained the demo's model, on a few texts."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
import train_demo
from gluscope.demo.text import Document
from train_demo import TrainSettings, encode, mean_loss, pack, rate_at, train, train_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

SMALL = TrainSettings(
    n_vocab=320, n_layers=1, d_model=32, d_mlp=48, n_heads=2, steps=30, batch=4, window=32, warmup=5, bfloat16=False,
    save_every=10,
)  # fmt: skip


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found = [f"Return item {n} of the list.\n    é it raises KeyError{n % 7} <b>if absent" for n in range(200)]
    monkeypatch.setattr(train_demo, "iter_documents", lambda: iter([Document(text, "here") for text in found]))
    return found


def test_training_learns_and_the_saved_folder_says_so(texts: list[str], tmp_path: Path) -> None:
    said: list[str] = []
    loss = train(tmp_path / "model", SMALL, said.append)
    report = json.loads((tmp_path / "model" / "training.json").read_text())
    assert report["held_out_loss"] == round(loss, 4)
    assert loss < 4.5 < 5.7  # ln(320) = 5.77
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", local_files_only=True)
    assert model.dtype == torch.float16
    held_out = [tokenizer(text).input_ids for text in texts if train_demo.is_held_out(text)]
    assert mean_loss(model.float(), held_out, SMALL.window) == pytest.approx(loss, rel=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    again = train(tmp_path / "again", replace(SMALL, save_every=30), said.append)
    assert again == loss
    assert train(tmp_path / "again", replace(SMALL, seed=18), said.append) != loss


def test_tokenizer_keeps_text_and_starts_with_bos(texts: list[str]) -> None:
    tokenizer = train_tokenizer(texts, 320)
    [ids] = encode(tokenizer, ["é <b>\n\n   12.5 \U0001f600"])
    assert ids[0] == 0 == tokenizer.token_to_id("<|endoftext|>")
    assert tokenizer.decode(ids) == "é <b>\n\n   12.5 \U0001f600"
    assert [tokenizer.id_to_token(token) for token in ids if "1" in tokenizer.id_to_token(token)] == ["1"]


def test_packing_wastes_nothing_but_the_end() -> None:
    packed = pack([[0, 1, 2], [0, 3], [0, 4, 5, 6]], 4)
    assert packed.tolist() == [[0, 1, 2, 0, 3], [3, 0, 4, 5, 6]]


def test_every_pass_has_another_order_but_the_same_tokens() -> None:
    ids = [[0, n] for n in range(1, 33)]
    batches = list(islice(train_demo.training_windows(ids, replace(SMALL, batch=15, window=4)), 2))
    assert batches[0].shape == (15, 5)
    assert not torch.equal(*batches)


def test_rate_rises_then_falls_to_a_twentieth() -> None:
    rates = [rate_at(step, SMALL) for step in range(1, SMALL.steps + 1)]
    assert max(rates) == rates[SMALL.warmup - 1] == SMALL.rate
    assert rates[SMALL.warmup :] == sorted(rates[SMALL.warmup :], reverse=True)
    assert rates[-1] == pytest.approx(SMALL.rate / 20)

"""Token ids to shown text, against the tokenizers library and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gluscope.core.errors import ModelError
from gluscope.dataset.special import tokenizer_folder
from gluscope.page.tokens import Token, TokenKind, TokenTexts, word_around
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXTS = ["the cat sat", "naïve café", "你好，世界", "👩‍👩‍👧 family", "שלום مرحبا", "tab\there\r\n\n  end ", "ﬁ½²"]


def byte_level(size: int = 300) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def of(tokenizer: Tokenizer) -> TokenTexts:
    return TokenTexts(json.loads(tokenizer.to_str()))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", [257, 300, 400])
def test_byte_level_tokens_join_to_the_text(text: str, size: int) -> None:
    tokenizer = byte_level(size)
    shown = of(tokenizer).tokens(tokenizer.encode(text).ids)
    assert len(shown) == len(tokenizer.encode(text).ids)
    whole = "".join(
        token.text if token.kind is not TokenKind.BYTES else token.text.partition("⟨")[0] for token in shown
    )
    assert whole == text


def test_bytes_of_a_character_show_as_bytes_until_it_is_complete() -> None:
    tokenizer = byte_level(257)
    shown = of(tokenizer).tokens(tokenizer.encode("a€").ids)
    assert [token.text for token in shown] == ["a", "⟨E2⟩", "⟨82⟩", "€"]
    assert [token.kind for token in shown] == [TokenKind.TEXT, TokenKind.BYTES, TokenKind.BYTES, TokenKind.TEXT]


def test_bytes_that_never_become_a_character() -> None:
    tokenizer = byte_level(257)
    euro, a = tokenizer.encode("€").ids, tokenizer.encode("a").ids
    assert [token.text for token in of(tokenizer).tokens([*euro[:2], *a])] == ["⟨E2⟩", "⟨82⟩", "a"]
    assert [token.text for token in of(tokenizer).tokens([euro[2], *a])] == ["⟨AC⟩", "a"]
    assert [token.text for token in of(tokenizer).tokens([euro[0], *euro])] == ["⟨E2⟩", "⟨E2⟩", "⟨82⟩", "€"]


def test_what_was_shown_before_changes_nothing() -> None:
    """Texts of tokens are kept; one whose bytes depend on those before it is not taken for the same one alone."""
    tokenizer = byte_level(257)
    euro, a = tokenizer.encode("€").ids, tokenizer.encode("a").ids
    texts = [[euro[1]], euro, [*a, euro[2]], [euro[0], *a], [euro[1], euro[2]], euro, a]
    kept = of(tokenizer)
    assert [kept.tokens(ids) for ids in texts] == [of(tokenizer).tokens(ids) for ids in texts]


def test_letters_that_stand_for_no_byte_are_text() -> None:
    vocabulary = {"a b": 0, "é ": 1, "€": 2, "Ġé": 3, "ŃĠ": 4}
    texts = TokenTexts({"model": {"vocab": vocabulary}, "decoder": {"type": "ByteLevel"}})
    assert [texts.token(number).text for number in range(5)] == ["a b", "é ", "€", " ⟨E9⟩", "⟨AD⟩ "]


def test_a_token_that_ends_within_a_character() -> None:
    texts = TokenTexts({"model": {"vocab": {"aâĤ": 0, "¬b": 1}}, "decoder": {"type": "ByteLevel"}})
    assert [(token.text, token.kind) for token in texts.tokens([0, 1])] == [
        ("a⟨E2 82⟩", TokenKind.BYTES),
        ("€b", TokenKind.TEXT),
    ]


def test_special_and_unknown_tokens_are_marked() -> None:
    tokenizer = byte_level()
    bos = tokenizer.token_to_id("<|endoftext|>")
    shown = of(tokenizer).tokens([bos, 99_999])
    assert [token.kind for token in shown] == [TokenKind.SPECIAL] * 2
    assert [token.text for token in shown] == ["<|endoftext|>", "⟨id 99999⟩"]


def test_sentencepiece_tokens_with_byte_fallback() -> None:
    pieces = ["<unk>", "▁the", "▁cat", "s", "▁▁", "<0xE4>", "<0xBD>", "<0xA0>", "<0x0A>"]
    steps = [{"type": "Replace"}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    settings = {
        "model": {"type": "BPE", "vocab": {piece: i for i, piece in enumerate(pieces)}},
        "decoder": {"type": "Sequence", "decoders": steps},
        "added_tokens": [{"id": 9, "content": "<s>", "special": True}],
    }
    shown = TokenTexts(settings).tokens([9, 1, 2, 3, 4, 5, 6, 7, 8])
    assert [token.text for token in shown] == ["<s>", " the", " cat", "s", "  ", "⟨E4⟩", "⟨BD⟩", "你", "\n"]


def test_a_unigram_vocabulary_is_a_list() -> None:
    settings = {"model": {"type": "Unigram", "vocab": [["<unk>", 0.0], ["▁a", -1.0]]}, "decoder": {"type": "Metaspace"}}
    assert TokenTexts(settings).token(1).text == " a"


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json: expected a tokenizer"):
        TokenTexts.read(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json: expected a tokenizer, found KeyError"):
        TokenTexts.read(tmp_path)


def test_the_tokenizer_lies_beside_the_texts_or_is_the_models(tmp_path: Path) -> None:
    assert tokenizer_folder(tmp_path / "tokens.json", "model") == Path("model")
    (tmp_path / "tokenizer.json").write_text("{}")
    assert tokenizer_folder(tmp_path / "tokens.json", "model") == tmp_path


@pytest.mark.parametrize(
    ("before", "token", "after", "word"),
    [
        ([" the"], " aren", ["as", " are"], "arenas"),
        ([" in", "compre"], "hens", ["ible", "."], "incomprehensible"),
        ([" I"], " don", ["'t", " know"], "don't"),
        ([" I", " don"], "'t", [" know"], "don't"),
        (["("], "foo", ["bar)", "baz"], "foobar"),
        ([" get"], "_na", ["me"], "name"),
        ([" the"], " cat", [" sat"], ""),
        ([" cat"], ".", [" sat"], ""),
        ([" the"], " ", ["cat"], ""),
        (["你好"], "世", ["界"], ""),
        ([" нейро"], "ны", ["\n"], "нейроны"),
        ([" न"], "म", ["स्ते"], "नमस्ते"),
        (["می\u200c"], "خواه", ["م"], "می\u200cخواهم"),
        (["a" * 30], "b", ["c" * 30], ""),
    ],
)
def test_the_word_that_a_token_is_a_piece_of(before: list[str], token: str, after: list[str], word: str) -> None:
    tokens = [Token(text) for text in (*before, token, *after)]
    assert word_around(tokens, len(before)) == word


def test_special_tokens_and_single_bytes_are_in_no_word() -> None:
    tokens = [Token("a"), Token("bos", TokenKind.SPECIAL), Token("b"), Token("c⟨E2⟩", TokenKind.BYTES)]
    assert [word_around(tokens, position) for position in range(4)] == ["", "", "", ""]

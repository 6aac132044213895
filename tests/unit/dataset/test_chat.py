"""Chats: tokens against transformers' own `apply_chat_template`, turns against what the messages say."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gluscope.core.errors import DatasetError
from gluscope.dataset.build import build
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.record import seal
from gluscope.dataset.sources import fetch
from helpers.byte_level import byte_level
from helpers.settings import token_settings
from helpers.token_rows import all_ids, all_texts
from tokenizers import Tokenizer, processors

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|header|>", "<|/header|>", "<|eot|>", "[INST]", "[/INST]"]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content }}{% endgeneration %}"
    "{% else %}{{ message.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|header|>' + message['role'] + '<|/header|>\n\n' + message['content'] | trim + '<|eot|>' }}{% endfor %}"
)
# The system's message goes into the first one of the user; other orders are refused.
LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must\nalternate') }}{% endif %}"
    "{% if message.role == 'user' %}{{ bos_token + '[INST] ' + (system + '\n\n' if loop.first else '') }}"
    "{{ message.content.strip() + ' [/INST]' }}{% else %}"
    "{{ ' ' + message.content.strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)
# As Qwen3's: thoughts of earlier answers are cut out, which string methods do.
THOUGHTS = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{{ message.content.split('</think>')[-1].lstrip('\n') if '</think>' in message.content else message.content }}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
)
BLOCKS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for block in message.content %}{% if block.type == 'image' %}(image){% else %}{{ block.text }}"
    "{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
)
CHAT = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "Where does the cat sit?"},
    {"role": "assistant", "content": "On the mat, 猫 user."},
    {"role": "user", "content": "And the dog?"},
    {"role": "assistant", "content": "By the door."},
]
TEXTS = [*(message["content"] for message in CHAT), "system user assistant", "<think> </think>"]


def tokenizer_of(folder: Path, template: str | None, jinja: bool = False, **config: Any) -> Path:
    """A byte-level tokenizer whose tokenizer.json puts <s> before every text, with a template of its folder."""
    made = byte_level(TEXTS, SPECIAL, 340)
    made.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 0)])
    folder.mkdir(exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>", **config}
    if template is not None and jinja:
        (folder / "chat_template.jinja").write_text(template)
    elif template is not None:
        named["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return folder


def source_of(path: Path, rows: list[Any], column: str = "messages") -> Path:
    path.write_text("".join(json.dumps({"id": i, column: row}) + "\n" for i, row in enumerate(rows)))
    return path


def made(tokenizer: Path, source: Path, out: Path, column: str = "messages", **settings: Any) -> TokenDataset:
    build(out, fetch(str(source), str(tokenizer)), token_settings(messages_column=column, **settings))
    return TokenDataset.open(out)


def ids_of(data: TokenDataset) -> list[list[int]]:
    return all_ids(data)


def straight(tokenizer: Path, chat: Any, **variables: Any) -> list[int]:
    """By transformers alone."""
    from transformers import AutoTokenizer

    auto = AutoTokenizer.from_pretrained(tokenizer)
    return list(auto.apply_chat_template(chat, tokenize=True, return_dict=True, **variables)["input_ids"])


def said(tokenizer: Path, data: TokenDataset, row: int) -> list[tuple[str, str]]:
    """Role and text of each turn of a row."""
    own, ids = Tokenizer.from_file(str(tokenizer / "tokenizer.json")), data.input_ids(row).tolist()
    decoded = [(role, own.decode(ids[begin:end], skip_special_tokens=False)) for begin, end, role in data.turns(row)]
    return [(role, text.strip()) for role, text in decoded]


def roles_and_words(chat: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"].strip()) for message in chat]


CASES = {
    "chatml": (CHATML, {}, False),
    "chatml, prompt": (CHATML, {"add_generation_prompt": True}, True),
    "chatml, no thinking": (CHATML, {"add_generation_prompt": True, "enable_thinking": False}, False),
    "llama 3": (LLAMA3, {}, True),
    "llama 2": (LLAMA2, {}, False),
}


@pytest.mark.parametrize("name", CASES)
def test_tokens_are_those_of_transformers_and_turns_what_messages_say(tmp_path: Path, name: str) -> None:
    template, variables, jinja = CASES[name]
    tokenizer = tokenizer_of(tmp_path / "m", template, jinja)
    chats = [CHAT, CHAT[1:3], [{"role": "user", "content": " \n spaces around \n"}, CHAT[2]], CHAT[:2]]
    data = made(tokenizer, source_of(tmp_path / "a.jsonl", chats), tmp_path / "out", template_kwargs=variables or None)
    assert ids_of(data) == [straight(tokenizer, chat, **variables) for chat in chats]
    for row, chat in enumerate(chats):
        assert said(tokenizer, data, row) == roles_and_words(chat)
    own = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    for row in range(len(data)):
        assert own.encode(all_texts(data)[row], add_special_tokens=False).ids == data.input_ids(row).tolist()
        assert set(data.metadata(row)) == {"id", "source_row", "source_offset"}
    assert (data.record.text_column, data.record.without_turns, data.record.around) == ("messages", 0, None)


@pytest.mark.parametrize(("template", "writes"), [(CHATML, False), (LLAMA3, True)])
@pytest.mark.parametrize("bos", [None, True, False])
@pytest.mark.parametrize("long_texts", ["truncate", "split"])
def test_never_two_bos_and_long_chats_are_cut_as_texts_are(
    tmp_path: Path, template: str, writes: bool, bos: bool | None, long_texts: str
) -> None:
    tokenizer = tokenizer_of(tmp_path / "m", template)
    chats = [CHAT, CHAT[1:2], CHAT[:4]]
    source, longest = source_of(tmp_path / "a.jsonl", chats), 17
    data = made(tokenizer, source, tmp_path / "out", bos=bos, max_length=longest, long_texts=long_texts)
    lead = [0] if (writes if bos is None else bos) else []
    expected, turns = [], []
    whole = made(tokenizer, source, tmp_path / "whole", bos=False)
    for row, chat in enumerate(chats):
        body = straight(tokenizer, chat)[writes:]
        assert 0 not in body
        starts = range(0, len(body), longest - len(lead))
        for start in starts if long_texts == "split" else [0]:
            part = body[start : start + longest - len(lead)]
            expected.append((lead + part, row, start))
            at = {i: role for begin, end, role in whole.turns(row) for i in range(begin, end)}
            turns.append([None] * len(lead) + [at.get(i) for i in range(start, start + len(part))])
    found = [
        (ids, data.metadata(row)["source_row"], data.metadata(row)["source_offset"])
        for row, ids in enumerate(ids_of(data))
    ]
    assert found == expected
    for row, roles in enumerate(turns):
        named = {i: role for begin, end, role in data.turns(row) for i in range(begin, end)}
        assert [named.get(i) for i in range(len(roles))] == roles
    if long_texts == "split":
        for source_row in range(len(chats)):
            parts = [all_texts(data)[row] for row in range(len(data)) if data.metadata(row)["source_row"] == source_row]
            text = all_texts(made(tokenizer, source, tmp_path / f"again{source_row}"))[source_row]
            assert "".join(parts).removeprefix("<s>" if writes else "") == text.removeprefix("<s>" if writes else "")


def test_a_template_that_cuts_thoughts_leaves_turns_at_what_is_left(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path / "m", THOUGHTS)
    chat = [CHAT[1], {"role": "assistant", "content": "<think>\nhm mat\n</think>\n\nOn the mat."}, CHAT[3]]
    data = made(tokenizer, source_of(tmp_path / "a.jsonl", [chat]), tmp_path / "out")
    assert ids_of(data) == [straight(tokenizer, chat)]
    expected = roles_and_words([chat[0], {"role": "assistant", "content": "On the mat."}, chat[2]])
    assert said(tokenizer, data, 0) == expected


def test_a_template_that_looks_at_content_has_its_tokens_without_turns(tmp_path: Path) -> None:
    looks = CHATML.replace("message.content }}{% endgen", "message.content | length }}{% endgen")
    tokenizer = tokenizer_of(tmp_path / "m", looks)
    data = made(tokenizer, source_of(tmp_path / "a.jsonl", [CHAT, CHAT[:2]]), tmp_path / "out")
    assert ids_of(data) == [straight(tokenizer, chat) for chat in (CHAT, CHAT[:2])]
    assert (data.turns(0), said(tokenizer, data, 1)) == ([], roles_and_words(CHAT[:2]))
    assert data.record.without_turns == 1
    assert "Conversations without marked turns: 1" in data.record.remarks


def test_share_gpt_json_text_and_parquet_are_the_same_chats(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path / "m", CHATML)
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    share = [{"from": names[message["role"]], "value": message["content"], "weight": None} for message in CHAT]
    plain = made(tokenizer, source_of(tmp_path / "a.jsonl", [CHAT]), tmp_path / "a")
    for i, (row, column) in enumerate([(share, "conversations"), (json.dumps(CHAT), "chat"), (json.dumps(share), "c")]):
        data = made(tokenizer, source_of(tmp_path / f"{i}.jsonl", [row], column), tmp_path / f"b{i}", column)
        assert (ids_of(data), data.turns(0)) == (ids_of(plain), plain.turns(0))
    for name, rows in {"nested": [CHAT, share], "json": [json.dumps(CHAT), None]}.items():
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"messages": rows}), tmp_path / name / "x.parquet")
        data = made(tokenizer, tmp_path / name, tmp_path / f"from-{name}")
        assert ids_of(data)[0] == ids_of(plain)[0]
        assert (len(data), data.record.dropped_empty) == ((2, 0) if name == "nested" else (1, 1))
    assert said(tokenizer, plain, 0) == roles_and_words(CHAT)


def test_blocks_and_messages_without_content(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path / "m", BLOCKS)
    blocks = [{"type": "text", "text": "Look: "}, {"type": "image"}, {"type": "text", "text": "a cat "}]
    chat = [{"role": "user", "content": blocks}, {"role": "assistant", "content": ""}, CHAT[1]]
    data = made(tokenizer, source_of(tmp_path / "a.jsonl", [chat, []]), tmp_path / "out")
    assert ids_of(data) == [straight(tokenizer, chat)]
    assert said(tokenizer, data, 0) == [("user", "Look: (image)a cat"), ("user", CHAT[1]["content"])]
    assert data.record.dropped_empty == 1


def test_what_messages_hold_stays_text(tmp_path: Path) -> None:
    """Template code in a message is no code; the name of a special token is that token, as in transformers."""
    tokenizer = tokenizer_of(tmp_path / "m", CHATML)
    hostile = [
        "{{ 7 * 7 }} {% for x in range(9) %}x{% endfor %} {# no #} {{ messages[0].__class__ }}",
        "<script>alert(1)</script>\0\u202e",
        "\ufdd00\ufdd2 a forged mark \ufdd11\ufdd2",
        "half \ud800 a pair",
        "ends <|im_end|> here <s>",
    ]
    chats = [[CHAT[0], {"role": "user", "content": text}, CHAT[2]] for text in hostile]
    data = made(tokenizer, source_of(tmp_path / "a.jsonl", chats), tmp_path / "out")
    clean = json.loads(json.dumps(chats).replace("\\ud800", "\ufffd"))
    assert ids_of(data) == [straight(tokenizer, chat) for chat in clean]
    for row, chat in enumerate(clean):
        assert chat[1]["content"] in all_texts(data)[row]
        assert said(tokenizer, data, row) == ([] if row == 2 else roles_and_words(chat))
    assert data.input_ids(4).tolist().count(SPECIAL.index("<|im_end|>")) == 4
    text = made(tokenizer, source_of(tmp_path / "b.jsonl", list(map(json.dumps, chats))), tmp_path / "text")
    assert ids_of(text) == ids_of(data)


def test_templates_run_in_the_sandbox(tmp_path: Path) -> None:
    for i, attack in enumerate(
        ["{{ messages.__class__.__mro__ }}", "{{ ''.__class__.__base__.__subclasses__() }}", "{{ messages.append(1) }}"]
    ):
        tokenizer = tokenizer_of(tmp_path / "m", CHATML + attack)
        source = source_of(tmp_path / "a.jsonl", [CHAT])
        with pytest.raises(DatasetError, match="line 1: expected messages that the tokenizer's chat template takes"):
            made(tokenizer, source, tmp_path / f"out{i}")
        assert not (tmp_path / f"out{i}").exists()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"role": "user", "content": "x"}, "line 2: expected a list of messages, found a dict"),
        ("no JSON", "line 2: expected a list of messages, or one as JSON text, found 'no JSON'"),
        (7, "line 2: expected a list of messages, found a int"),
        (["x"], 'line 2, message 0: expected an object with `role` and `content`, .* found "x"'),
        ([{"content": "x"}], "line 2, message 0: expected an object .*, found the keys content"),
        ([CHAT[0], {}], r"line 2, message 1: expected an object .*, found the keys \(none\)"),
        ([{"role": 3, "content": "x"}], "line 2, message 0: expected an object"),
        ([{"role": "user"}], "line 2, message 0: .* found the keys role without content"),
        ([{"role": "user", "content": 5}], "line 2, message 0: expected a text as its content, found 5"),
        ([CHAT[2]], "line 2: expected messages that .* template takes, found roles must alternate. Next: correct it"),
    ],
)
def test_a_malformed_row_is_named_in_one_line(tmp_path: Path, row: Any, words: str) -> None:
    tokenizer = tokenizer_of(tmp_path / "m", LLAMA2)
    source = source_of(tmp_path / "a.jsonl", [CHAT[1:], row])
    with pytest.raises(DatasetError, match=f"a.jsonl, {words}") as caught:
        made(tokenizer, source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_refusals_before_the_first_row(tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.jsonl", [CHAT])
    without, tokenizer = tokenizer_of(tmp_path / "without", None), tokenizer_of(tmp_path / "m", CHATML)
    with pytest.raises(DatasetError, match="without: expected a tokenizer with a chat template"):
        made(without, source, tmp_path / "out")
    with pytest.raises(DatasetError, match=r"'enable_thinkng'\. Next: write 'enable_thinking'"):
        made(tokenizer, source, tmp_path / "out", template_kwargs={"enable_thinkng": True})
    with pytest.raises(
        DatasetError, match=r"a column 'chat', found columns id, messages\. Next: set `messages_column`"
    ):
        made(tokenizer, source, tmp_path / "out", "chat")
    with pytest.raises(DatasetError, match="line 1: expected a list of messages, found a int"):
        made(tokenizer, source, tmp_path / "out", "id")
    (tmp_path / "ids.jsonl").write_text('{"input_ids": [5, 6]}\n')
    with pytest.raises(DatasetError, match="texts, because `messages_column` is set, found a source with `input_ids`"):
        made(tokenizer, tmp_path / "ids.jsonl", tmp_path / "out")


def test_several_templates_and_the_day(tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.jsonl", [CHAT])
    several = [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": "{{ tools }}"}]
    tokenizer = tokenizer_of(tmp_path / "m", several)  # type: ignore[arg-type]
    data = made(tokenizer, source, tmp_path / "out")
    assert (ids_of(data), data.record.writes_date) == ([straight(tokenizer, CHAT)], False)
    day = "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    day += "{{ date_string }}"
    dated = tokenizer_of(tmp_path / "dated", day + CHATML)
    data = made(dated, source, tmp_path / "today")
    assert data.record.writes_date
    assert any("date_string" in line for line in data.record.remarks)
    data = made(dated, source, tmp_path / "then", template_kwargs={"date_string": "26 Jul 2024"})
    assert all_texts(data)[0].startswith("26 Jul 2024<|im_start|>")
    assert not data.record.writes_date


def test_the_order_of_rows_and_copies_are_as_for_texts(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path / "m", LLAMA3)
    drawn = random.Random(0)
    words = " ".join(TEXTS).split()
    chats = [
        [{"role": "user", "content": " ".join(drawn.choices(words, k=drawn.randrange(1, 40)))}, CHAT[2]]
        for _ in range(300)
    ]
    chats += chats[:3]
    source = source_of(tmp_path / "a.jsonl", chats)
    data = made(tokenizer, source, tmp_path / "out", shuffle_seed=3)
    rows = [data.metadata(row)["source_row"] for row in range(len(data))]
    assert sorted(rows) == list(range(303))
    assert rows != sorted(rows)
    from transformers import AutoTokenizer

    auto = AutoTokenizer.from_pretrained(tokenizer)
    expected = auto.apply_chat_template([chats[row] for row in rows], tokenize=True, return_dict=True)["input_ids"]
    assert ids_of(data) == expected
    assert data.record.copies == 3
    assert all(said(tokenizer, data, row) == roles_and_words(chats[rows[row]]) for row in range(len(data)))


def test_fingerprints_of_texts_know_nothing_of_chats() -> None:
    """A data set that was made before chats were read is still the same one."""
    import numpy as np

    ids, lengths = [np.array([1, 2, 3], np.int32)], np.array([3])
    tokens = hashlib.sha256(np.concatenate(ids).astype("<i4").tobytes()).digest()
    assert seal(tokens, lengths, token_settings()) == (
        "2f77f267d1742fcff889bc0827671cdd9f4ab07c13d64f7d68deb5ba2846b49b"
    )
    others = [token_settings(messages_column="m"), token_settings(messages_column="m", template_kwargs={"a": 1})]
    assert len({seal(tokens, lengths, settings) for settings in [token_settings(), *others]}) == 3

"""Which texts are hub ids, by the hub's own rule; and what a model or data set is called where others read it."""

from __future__ import annotations

import doctest
import random
from pathlib import Path

import pytest
from gluscope.core import names
from gluscope.core.names import is_hub_id, is_local, is_on_hub, public_name, short_name
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id


def the_hub_takes(text: str) -> bool:
    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def test_the_rule_is_the_hubs() -> None:
    choose = random.Random(0)
    made = ["".join(choose.choices("ab9._-/ é", k=choose.randint(0, 8))) for _ in range(30_000)]
    long = [f"{'a' * owner}/{'b' * name}" for owner in (1, 95, 96, 97) for name in (1, 95, 96, 97)]
    texts = [*made, *long, "gpt2", "allenai/OLMo-7B-0424-hf", "a/b.git", "a--b/c", "a..b", "a/b\n", "-a/b", "a/b."]
    assert [text for text in texts if is_hub_id(text) != the_hub_takes(text)] == []
    assert sum(map(is_hub_id, texts)) > 1000


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("allenai/OLMo-7B-0424-hf", "allenai/OLMo-7B-0424-hf"),
        ("gpt2", "gpt2"),
        ("config/demo/model", "demo/model"),
        ("results/sources/python-docs.jsonl", "sources/python-docs.jsonl"),
        ("/home/jane/model", "model"),
        ("/home/jane/model/", "model"),
        ("~/models/mine", "mine"),
        ("../jane/model", "model"),
        ("models/../../jane/model", "model"),
        ("/scratch/jane/hub/models--allenai--OLMo-1B-hf/snapshots/0f3a", "allenai/OLMo-1B-hf"),
        ("hub/datasets--gpt2/snapshots/0f3a/data", "gpt2"),
        ("/data/jane/texts.jsonl", "texts.jsonl"),
        ("/", "unnamed"),
        ("..", "unnamed"),
        (".", "unnamed"),
    ],
)
def test_names_are_no_paths(written: str, shown: str) -> None:
    assert public_name(written) == shown
    assert "jane" not in public_name(written)
    assert short_name(written) == shown.rpartition("/")[2]


def test_a_name_is_its_own_name() -> None:
    for written in ("a/b", "a", "/x/y/z", "x/y/z", "../u/v", "h/models--a--b/snapshots/c"):
        assert public_name(public_name(written)) == public_name(written)


def test_revisions_tell_what_lies_in_a_folder() -> None:
    assert is_local("sha256:ab")
    assert not is_local("0f3a")
    assert doctest.testmod(names).failed == 0


def test_paths_and_hub_ids_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user/here").mkdir(parents=True)
    local = ["texts.jsonl", "a/b/c", "./x", "/abs", "my-model/", "user/here", "data.json.gz"]
    assert [name for name in local if is_on_hub(name)] == []
    assert [name for name in ("emozilla/dolma-v1_7-3B", "gpt2", "user/data.v2") if not is_on_hub(name)] == []

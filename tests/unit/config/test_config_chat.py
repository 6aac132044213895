"""The keys of chat data."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from gluscope.config.load import ConfigErrors, load_config

ENTRY = {"source": "x.jsonl", "tokenizer": "m", "messages_column": "messages"}


def test_variables_are_kept_as_they_are() -> None:
    variables = {
        "add_generation_prompt": True,
        "tools": [{"type": "function"}],
        "date_string": "26 Jul 2024",
        "x": None,
    }
    data = load_config({"datasets": {"d": {**ENTRY, "template_kwargs": variables}}}).datasets["d"]
    assert (data.messages_column, data.template_kwargs) == ("messages", variables)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tokenizer": None}, "config: datasets: d: expected a `tokenizer` beside `messages_column`, found none"),
        ({"messages_column": None, "template_kwargs": {}}, "expected `messages_column` beside `template_kwargs`"),
        ({"messages_column": ""}, "messages_column: expected a text that is not empty"),
        ({"template_kwargs": ["a"]}, "template_kwargs: expected names with values, found ['a']"),
        (
            {"template_kwargs": {"tokenize": True}},
            "template_kwargs: tokenize: expected a variable of the chat template",
        ),
        ({"template_kwargs": {"a b": True}}, "expected the name of a variable, found 'a b'"),
        ({"template_kwargs": {1: True}}, "expected the name of a variable, found 1"),
        ({"template_kwargs": {"day": datetime.date(2024, 7, 26)}}, "template_kwargs: day: expected texts, numbers"),
        ({"template_kwargs": {"x": [{"y": {2: 3}}]}}, "found 2. Next: write it in quotes"),
    ],
)
def test_mistakes_are_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_config({"datasets": {"d": {**ENTRY, **changes}}})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)

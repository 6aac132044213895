"""The sizes in docs/models.md are computed, and as the hub states them."""

from __future__ import annotations

import pytest
from gluscope.model.adapter import TESTED
from helpers import model_sizes


@pytest.mark.parametrize("name", model_sizes.PUBLISHED)
def test_parameters_are_the_published_ones(name: str) -> None:
    assert model_sizes.MODELS[name].parameters()[0] == model_sizes.PUBLISHED[name]


def test_the_docs_table_is_the_computed_one() -> None:
    text = model_sizes.DOC.read_text(encoding="utf-8")
    assert text == model_sizes.filled(text), "PYTHONPATH=scripts:tests python -m helpers.model_sizes writes it anew"
    assert {known.architecture for known in model_sizes.MODELS.values()} <= set(TESTED)

"""Tiny models, made once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gluscope.model.spec import ModelSpec
from helpers import model_table

TinySpec = Callable[[str], ModelSpec]


@pytest.fixture(scope="session")
def tiny_spec(tmp_path_factory: pytest.TempPathFactory) -> TinySpec:
    """Architecture -> description of its tiny model: 3 layers, d_model 32, d_mlp 48 (where it can be chosen)."""
    folder: Path = tmp_path_factory.mktemp("models")
    made: dict[str, ModelSpec] = {}

    def get(architecture: str) -> ModelSpec:
        if architecture not in made:
            made[architecture] = model_table.tiny(architecture, folder)
        return made[architecture]

    return get

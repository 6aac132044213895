"""Position encodings that change with the length of the text: a text's values are those that it has alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.model.describe import describe
from gluscope.model.load import load_model
from gluscope.scan.batches import make_batches
from helpers import model_parity as parity
from helpers.tiny_models import make

SHORT = 16
LENGTHS = (40, 10, 16, 17, 64, 40, 16)
ROPE: dict[str, dict[str, Any]] = {
    "dynamic": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
    "longrope": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [2.0, 3.0, 5.0, 9.0],
        "original_max_position_embeddings": SHORT,
        "factor": 4.0,
    },
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
}


def folder_with(kind: str, folder: Path, architecture: str = "LlamaForCausalLM") -> Path:
    make(architecture, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"rope_parameters": ROPE[kind], "max_position_embeddings": 64 if kind == "longrope" else SHORT}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def texts() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(3, 300, (1, length)) for length in LENGTHS]


@pytest.mark.parametrize("kind", ROPE)
def test_in_any_order_each_text_is_as_in_a_model_of_its_own(kind, tmp_path):
    spec = describe(str(folder_with(kind, tmp_path / "model")))
    alone = [parity.captured(load_model(spec, "cpu"), ids) for ids in texts()]
    model = load_model(spec, "cpu")
    for order in (range(len(LENGTHS)), reversed(range(len(LENGTHS)))):
        for place in order:
            for one, other in zip(alone[place], parity.captured(model, texts()[place]), strict=True):
                assert all(np.array_equal(one[name], other[name]) for name in parity.QUANTITIES), LENGTHS[place]


@pytest.mark.parametrize(("kind", "limit"), [("dynamic", SHORT), ("longrope", SHORT), ("linear", None)])
def test_beyond_the_known_length_only_equal_lengths_share_a_pass(kind, limit, tmp_path):
    model = load_model(describe(str(folder_with(kind, tmp_path / "model"))), "cpu")
    assert model.alone_beyond == limit
    ids = np.random.default_rng(1).integers(3, 300, (2, 40))
    if limit is None:
        model.forward(ids, lengths=np.array([40, 39]))
        return
    with pytest.raises(ValueError, match="in a batch of width 40, over 16"):
        model.forward(ids, lengths=np.array([40, 39]))
    model.forward(ids, lengths=np.array([40, 40]))
    model.forward(ids[:, :16], lengths=np.array([16, 3]))


def test_batches_keep_long_texts_apart():
    lengths = np.random.default_rng(2).integers(1, 60, 300)
    batches = make_batches(lengths, 500, allow_padding=0.5, alone_beyond=SHORT)
    assert sorted(np.concatenate(batches)) == list(range(300))
    widths = [(int(lengths[b].min()), int(lengths[b].max())) for b in batches]
    assert all(low == high for low, high in widths if high > SHORT)
    assert any(low < high for low, high in widths)
    assert [b.tolist() for b in make_batches(lengths, 500, 0.5)] != [b.tolist() for b in batches]


def test_texts_beyond_the_models_length_are_said(tmp_path):
    spec = describe(str(folder_with("dynamic", tmp_path / "model")))
    assert spec.positions == SHORT
    said = spec.beyond(np.array(LENGTHS))
    assert said is not None
    assert said.startswith("4 of 7 texts, of up to 64 tokens, are longer than 16")
    assert spec.beyond(np.array([3, 16])) is None

"""What a run takes, against models whose sizes are known, stores as their schema says, and what was measured."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.cost import PEAKS, ModelSize, cost
from gluscope.core.schema import SUMMARY
from gluscope.model.sizes import size_of
from helpers.model_sizes import MODELS
from helpers.settings import work

OLMO = ModelSize(32, 4096, 11008, 4 * 4096**2, "float16")
WORK = work(scan=20_000_000, shards=16, k=16, samples=4096, format="bfloat16")


@pytest.mark.parametrize("name", MODELS)
def test_operations_are_twice_the_weights_that_a_token_meets(name: str, tmp_path: Path) -> None:
    """Within a thousandth: gains and biases are left out."""
    known = MODELS[name]
    config = {
        "num_hidden_layers": known.n_layers, "hidden_size": known.d_model, "intermediate_size": known.d_mlp,
        "num_attention_heads": known.heads, "num_key_value_heads": known.kv_heads, "head_dim": known.head_dim,
        "torch_dtype": "bfloat16",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"text_config": config} if known.tied else config))
    size = size_of(str(tmp_path))
    assert size is not None
    assert (size.n_layers, size.d_model, size.d_mlp, size.dtype) == (
        known.n_layers,
        known.d_model,
        known.d_mlp,
        "bfloat16",
    )
    assert size.operations == pytest.approx(2 * known.parameters()[1], rel=1e-3)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"num_hidden_layers": 2, "intermediate_size": 8}', '{"hidden_size": 4}']
)
def test_a_config_that_does_not_say_is_no_size(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert size_of(str(tmp_path)) is None
    assert size_of(str(tmp_path / "none")) is None


def test_statistics_are_what_their_arrays_hold() -> None:
    sizes = {"layer": 3, "neuron": 7, "case": 4, "quantity": 4, "k": 5, "sample": 11}
    arrays = {name: prod(sizes[dim] for dim in one.dims) * np.dtype(one.dtype).itemsize
              for name, one in SUMMARY.items() if "neuron" in one.dims}  # fmt: skip
    samples = sum(count for name, count in arrays.items() if name.startswith("sample"))
    size, planned = ModelSize(3, 8, 7, 1), work(scan=1, shards=4, k=5, samples=11)
    # Each token is sampled in one shard, and once more in the summary.
    expected = 5 * (sum(arrays.values()) - samples) + 2 * samples
    assert cost(size, planned).bytes["statistics"] == expected


def test_the_cache_is_what_it_was_always_said_to_be() -> None:
    assert cost(OLMO, replace(WORK, cache=True)).bytes["the cache"] == 20_000_000 * 32 * 4096 * 2
    assert "the cache" not in cost(OLMO, WORK).bytes


def test_hours_are_between_those_of_the_measured_scans() -> None:
    """28,000 to 32,000 tokens a second: OLMo-7B in bfloat16 on an H100 (docs/decisions/on-an-h100.md)."""
    scan, replay = cost(OLMO, WORK).hours("H100")
    assert 20e6 / 32_000 / 3600 < scan <= 20e6 / 28_000 / 3600
    assert replay == 0
    again = cost(OLMO, replace(WORK, replay=20_000_000, replay_shards=16)).hours("H100")
    assert again == (scan, scan)
    for card, peaks in PEAKS.items():
        slower = [
            cost(OLMO, replace(WORK, format=format_)).hours(card)[0] for format_ in ("bfloat16", "tf32", "float32")
        ]
        assert slower == sorted(slower)
        assert slower[2] / slower[0] == pytest.approx(peaks["bfloat16"] / peaks["float32"])


def test_more_shards_cost_bytes_and_files_and_no_hours() -> None:
    one, many = cost(OLMO, replace(WORK, shards=1, cache=True)), cost(OLMO, replace(WORK, shards=9, cache=True))
    assert many.files - one.files == 8 * (1 + 32 + 6)
    assert many.total > one.total
    assert many.hours("A100") == one.hours("A100")

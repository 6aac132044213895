"""Tokens that a run skips: against brute force over the others, under every cut, and what lists look like with them."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.cache.reader import CacheReader
from gluscope.core.errors import DatasetError
from gluscope.dataset.build import build
from gluscope.dataset.plan import make_plan
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.sources import fetch
from gluscope.dataset.special import SpecialTokens
from gluscope.model.describe import describe
from gluscope.scan import loop
from gluscope.scan.skip import skipped_by
from helpers.brute_scan import collect, copies_in, forward
from helpers.merging import merge
from helpers.scan_case import Case, agrees_with, prepare, same, summaries
from helpers.settings import token_settings
from helpers.summaries import read_attributes, read_layer, read_sample
from helpers.tiny_models import make_tokenizer, tokens_of

BOS = 0


@pytest.fixture(scope="module")
def olmo(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return prepare(tmp_path_factory.mktemp("olmo"), "OlmoForCausalLM", n_layers=2, d_model=16, n_heads=2, d_mlp=10)


@pytest.fixture(scope="module")
def common(olmo: Case) -> int:
    """A token of the texts' own that stands everywhere but at their start."""
    inner = [token for ids in olmo.ids for token in ids[1:]]
    return max(set(inner), key=inner.count)


def places(case: Case, skipped: set[int]) -> dict[int, set[int]]:
    return {row: {at for at, token in enumerate(ids) if token in skipped} for row, ids in enumerate(case.ids)}


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "Phi3ForCausalLM"])
@pytest.mark.parametrize("reducer", ["torch", "numba"])
@pytest.mark.parametrize("padding", [0.0, 0.6])
def test_statistics_are_those_of_the_other_tokens(
    tmp_path: Path, architecture: str, reducer: str, padding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loop.PADDING, "cpu", padding)
    case = prepare(tmp_path, architecture, n_layers=2, d_model=16, d_mlp=10)
    inner = [token for ids in case.ids for token in ids[1:]]
    word = max(set(inner), key=inner.count)
    case.scan(tmp_path / "out.zarr.zip", reducer=reducer, skip_tokens=["bos", word])
    left_out = places(case, {BOS, word})
    agrees_with(case, summaries(case, tmp_path / "out.zarr.zip"), "silu", left_out)
    about = read_attributes(tmp_path / "out.zarr.zip")
    number = sum(map(len, left_out.values()))
    assert number > len(case.ids)
    assert about["skip_tokens"] == ["bos", word]
    assert about["skipped_ids"] == sorted({BOS, word})
    assert (about["skipped"], about["tokens"]) == (number, sum(map(len, case.ids)) - number)
    for layer in summaries(case, tmp_path / "out.zarr.zip"):
        assert (layer.count.sum(1) == about["tokens"]).all()


@pytest.mark.parametrize("shards", [2, 5])
def test_no_cut_changes_them(tmp_path: Path, olmo: Case, common: int, shards: int) -> None:
    skip: dict[str, Any] = {"skip_tokens": ["bos", common], "batch_tokens": 1}
    olmo.scan(tmp_path / "whole.zarr.zip", **skip)
    plan = olmo.plan_of(shards)
    paths = [tmp_path / f"{shard.name}.zarr.zip" for shard in plan.shards]
    for shard, path in zip(plan.shards, paths, strict=True):
        olmo.scan(path, shard.name, shards, **skip)
    for layer, whole in enumerate(summaries(olmo, tmp_path / "whole.zarr.zip")):
        same(functools.reduce(merge, (read_layer(path, layer) for path in paths)), whole)
    sums = [sum(read_attributes(path)[key] for path in paths) for key in ("tokens", "skipped")]
    assert sums == [read_attributes(tmp_path / "whole.zarr.zip")[key] for key in ("tokens", "skipped")]
    samples = [read_sample(path) for path in paths]
    assert np.concatenate([one.position for one in samples]).tolist() == sample_of(tmp_path / "whole.zarr.zip")[1]


def sample_of(path: Path) -> tuple[list[int], list[int]]:
    sample = read_sample(path)
    return sample.example.tolist(), sample.position.tolist()


def test_the_sample_is_that_of_the_others(tmp_path: Path, olmo: Case, common: int) -> None:
    """Every token's hash stays what it is: without what is skipped the next ones come in."""
    tokens = sum(map(len, olmo.ids))
    olmo.scan(tmp_path / "all.zarr.zip", samples=tokens)
    olmo.scan(tmp_path / "some.zarr.zip", samples=30)
    olmo.scan(tmp_path / "skipped.zarr.zip", samples=30, skip_tokens=["bos", common])
    of_all = set(zip(*sample_of(tmp_path / "some.zarr.zip"), strict=True))
    found = set(zip(*sample_of(tmp_path / "skipped.zarr.zip"), strict=True))
    gone = {(row, at) for row, own in places(olmo, {BOS, common}).items() for at in own}
    assert len(found) == 30
    assert not found & gone
    assert of_all - gone <= found
    assert of_all & gone


def test_the_cache_has_x_of_every_token(tmp_path: Path, olmo: Case) -> None:
    olmo.scan(tmp_path / "out.zarr.zip", cache=tmp_path / "cache", skip_tokens=["special"])
    olmo.scan(tmp_path / "none.zarr.zip", cache=tmp_path / "before")
    with CacheReader(tmp_path / "cache") as cache, CacheReader(tmp_path / "before") as before:
        for row, ids in enumerate(olmo.ids):
            assert len(cache.read(1, row)) == len(ids)
            np.testing.assert_array_equal(cache.read(1, row), before.read(1, row))


def test_a_first_token_that_dominates_fills_all_lists_unless_it_is_skipped(tmp_path: Path) -> None:
    """As in most trained models: the first token's x is like no other, and some neurons answer to it alone."""
    from safetensors.torch import load_file, save_file

    case = prepare(tmp_path, "OlmoForCausalLM", n_layers=2, d_model=32, d_mlp=12)
    xs = [text.x[0] for text in forward(case.folder, case.ids)]
    direction = xs[0][0] / np.linalg.norm(xs[0][0])
    file = case.folder / "model.safetensors"
    weights = load_file(file)
    for part in ("gate_proj", "up_proj"):
        row = weights[f"model.layers.0.mlp.{part}.weight"][5]
        row.copy_(row.new_tensor(50 * direction))
    save_file(weights, file, {"format": "pt"})
    case = replace(case, spec=describe(str(case.folder), None))
    lists = {}
    for name, skip in (("with", []), ("without", ["bos"])):
        case.scan(tmp_path / f"{name}.zarr.zip", k=8, skip_tokens=skip)
        lists[name] = read_layer(tmp_path / f"{name}.zarr.zip", 0).neuron(5)
    first, others = lists["with"], lists["without"]
    assert (first.extreme_position[0, 0, 3] == 0).all()
    assert (others.extreme_position[0, 0, 3][others.extreme_example[0, 0, 3] >= 0] > 0).all()
    assert first.extreme_value[0, 0, 3, 7] > 2 * others.extreme_value[0, 0, 3, 0]
    assert first.count.sum() - others.count.sum() == len(case.ids)
    done = dict(enumerate(forward(case.folder, case.ids)))
    found = collect(done, 0, 5, unsure=1e-5, unlisted=copies_in(case.ids), left_out=places(case, {BOS}))
    for c in range(4):
        assert abs(int(others.count[0, c]) - found[c].count) <= found[c].unsure
        rows = [row for _, row, _ in found[c].extremes[3][:8]]
        assert len(set(rows) ^ set(others.extreme_example[0, c, 3][others.extreme_example[0, c, 3] >= 0])) <= 2


def test_values_that_are_not_finite_are_refused_at_skipped_tokens_as_well(tmp_path: Path) -> None:
    from gluscope.core.errors import ModelError
    from safetensors.torch import load_file, save_file

    case = prepare(tmp_path, "OlmoForCausalLM", n_layers=2, d_model=16, d_mlp=10)
    weights = load_file(case.folder / "model.safetensors")
    weights["model.embed_tokens.weight"][BOS] = float("nan")
    save_file(weights, case.folder / "model.safetensors", {"format": "pt"})
    case = replace(case, spec=describe(str(case.folder), None))
    with pytest.raises(ModelError, match="layer 0: expected finite activations"):
        case.scan(tmp_path / "out.zarr.zip", skip_tokens=["bos"])


def opened(case: Case) -> TokenDataset:
    return TokenDataset.open(case.data)


def test_what_the_names_stand_for(olmo: Case) -> None:
    data, word = opened(olmo), tokens_of(olmo.folder)[100]
    assert data.record.special == SpecialTokens(0, [0, 1, 2])
    of = functools.partial(skipped_by, data=data, spec=olmo.spec)
    assert (of([]), of(["bos"]), of(["special"]), of(["bos", "special"])) == ([], [0], [0, 1, 2], [0, 1, 2])
    assert of(["</s>", word, 7, 7]) == [1, 7, 100]


@pytest.mark.parametrize(
    ("skip", "expected"),
    [
        (["<|none|>"], r"skip_tokens: expected `bos`, `special` or a token of .*, found '<\|none\|>'\. Next: write"),
        ([10_000], r"skip_tokens: expected an id below 320, found 10000\. Next: write a token as"),
    ],
)
def test_what_no_tokenizer_knows_is_refused_before_the_model_is_loaded(
    tmp_path: Path, olmo: Case, skip: list[Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gluscope.model.load.load_model", None)
    with pytest.raises(DatasetError, match=expected):
        olmo.scan(tmp_path / "out.zarr.zip", skip_tokens=skip)


def pretokenised(folder: Path, case: Case, tokenizer: str | None) -> Case:
    """The same tokens as a source that has `input_ids`."""
    import datasets

    datasets.Dataset.from_dict({"input_ids": case.ids}).save_to_disk(folder / "source")
    build(folder / "again", fetch(str(folder / "source"), tokenizer), token_settings())
    data = TokenDataset.open(folder / "again")
    return replace(case, data=folder / "again", plan_of=functools.partial(make_plan, data))


def test_texts_that_came_as_tokens_have_the_tokenizer_that_is_named_or_the_models(tmp_path: Path, olmo: Case) -> None:
    named = pretokenised(tmp_path / "named", olmo, str(olmo.folder))
    assert opened(named).record.special == SpecialTokens(0, [0, 1, 2])
    other = pretokenised(tmp_path / "other", olmo, None)
    assert opened(other).record.special is None
    for case in (named, other):
        assert skipped_by(["bos"], opened(case), olmo.spec) == [0]
        assert skipped_by(["</s>"], opened(case), olmo.spec) == [1]
    (tmp_path / "bare").mkdir()
    bare = replace(olmo.spec, folder=str(tmp_path / "bare"))
    assert skipped_by([5], opened(other), bare) == [5]
    for skip, expected in (
        ("bos", "says which tokens are special, found none with"),
        ("</s>", "found FileNotFoundErr"),
    ):
        with pytest.raises(DatasetError, match=expected):
            skipped_by([skip], opened(other), bare)


@pytest.mark.parametrize(
    ("how", "bos"),
    [({"adds_bos": True, "has_bos": True}, 0), ({"adds_bos": False, "has_bos": True}, 0), ({"has_bos": False}, None)],
)
def test_a_tokenizer_without_bos_has_none_to_skip(tmp_path: Path, how: dict[str, bool], bos: int | None) -> None:
    from transformers import PreTrainedTokenizerFast

    folder = make_tokenizer(tmp_path, **how)
    found = SpecialTokens.of(PreTrainedTokenizerFast.from_pretrained(folder))
    assert found == SpecialTokens(bos, [0, 1, 2])


def test_bos_is_what_tokenizer_json_puts_first_where_nothing_else_says(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    folder = make_tokenizer(tmp_path)
    bare = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    assert bare.bos_token_id is None
    assert SpecialTokens.of(bare) == SpecialTokens(0, [0, 1, 2])

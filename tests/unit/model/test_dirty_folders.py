"""Folders as they lie on hubs and disks: what is read is what transformers loads, or the folder is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from gluscope.core.errors import ModelError
from gluscope.model.adapter import TESTED
from gluscope.model.describe import describe
from gluscope.model.load import load_model
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from helpers.tiny_models import make
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("LlamaForCausalLM", tmp_path_factory.mktemp("plain") / "model")


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "model"))


def weights_of(folder: Path) -> Tensors:
    return {name: t for file in sorted(folder.glob("model*.safetensors")) for name, t in load_file(file).items()}


def write(file: Path, tensors: Tensors) -> None:
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, file, {"format": "pt"})


def write_shards(folder: Path, tensors: Tensors, files: int = 3, stem: str = "model") -> list[Path]:
    """As sharded models are published: tensors dealt to files, an index with the total size."""
    names = [f"{stem}-{i + 1:05d}-of-{files:05d}.safetensors" for i in range(files)]
    where = {name: names[i % files] for i, name in enumerate(tensors)}
    for file in names:
        write(folder / file, {name: tensors[name] for name in tensors if where[name] == file})
    total = sum(tensor.nbytes for tensor in tensors.values())
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": where}))
    return [folder / name for name in names]


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def other(tensors: Tensors) -> Tensors:
    return {name: tensor + 1 for name, tensor in tensors.items()}


def check_is_what_transformers_loads(folder: Path) -> ModelSpec:
    """Every row that the library reads, against the model that plain transformers makes of the folder."""
    spec = describe(str(folder))
    model = getattr(transformers, spec.architecture).from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    rows, names = WeightRows(spec), spec.modules
    for layer, block in enumerate(model.get_submodule(names["layers"])):
        mlp = block.get_submodule(names["mlp"])
        gate, in_ = mlp.get_submodule(names["gate"]).weight, mlp.get_submodule(names["in"]).weight
        expected = [(rows.out_matrix(layer).T, mlp.get_submodule(names["out"]).weight)]
        expected += [(rows.gate_matrix(layer), gate[: spec.d_mlp]), (rows.in_matrix(layer), in_[-spec.d_mlp :])]
        norm = spec.norm(layer)
        if norm.gain:
            expected.append((rows.gain(layer), block.get_submodule(norm.module).weight + norm.offset))
        for found, tensor in expected:
            np.testing.assert_array_equal(found, tensor.detach().numpy())
    for found, head in ((rows.embed(), model.get_input_embeddings()), (rows.unembed(), model.get_output_embeddings())):
        zeroed = model.get_input_embeddings().padding_idx if spec.architecture == "YoutuForCausalLM" else None
        kept = np.arange(spec.n_vocab) != zeroed  # that class makes its padding's row 0 itself
        np.testing.assert_array_equal(found[kept], head.weight.detach().numpy()[kept])
    load_model(spec, "cpu")  # compares with the files as well
    return spec


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        describe(str(folder))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("architecture", TESTED)
def test_every_class_as_a_published_folder_looks(architecture: str, tiny_spec: Any, tmp_path: Path) -> None:
    """In shards, with a block for predicting two tokens, buffers of old versions, and the maker's own files beside."""
    spec = tiny_spec(architecture)
    folder = Path(shutil.copytree(spec.folder, tmp_path / "model"))
    tensors = weights_of(folder)
    (folder / SINGLE).unlink()
    first = spec.gate.partition("{layer}")[0] + "0."
    extra = {name.replace(first, "mtp.layers.0."): tensor for name, tensor in tensors.items() if name.startswith(first)}
    extra |= {"mtp.fc.weight": torch.zeros(32, 64), "mtp.norm.weight": torch.zeros(32)}
    extra |= {f"{first}self_attn.rotary_emb.inv_freq": torch.zeros(4)}
    write_shards(folder, extra | tensors)
    write(folder / "consolidated.safetensors", {"layers.0.feed_forward.w1.weight": torch.zeros(48, 32)})
    write(folder / "model.fp16.safetensors", other(tensors))
    found = check_is_what_transformers_loads(folder)
    same = {"architecture", "gate", "in_", "out", "embed", "unembed", "bias", "modules", "norms", "dtype", "positions"}
    assert {name: getattr(found, name) for name in same} == {name: getattr(spec, name) for name in same}


def test_saved_again_in_shards(folder: Path) -> None:
    files = write_shards(folder, other(weights_of(folder)))
    text = refusal(folder)
    assert "one set of weights, found two, model.safetensors and the 3 files of model.safetensors.index.json" in text
    assert "transformers would read model.safetensors" in text
    files[1].unlink()  # an index without its files is read by nobody
    check_is_what_transformers_loads(folder)


def test_the_same_weights_twice_do_no_harm(folder: Path) -> None:
    write_shards(folder, weights_of(folder))
    check_is_what_transformers_loads(folder)
    (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(weights_of(folder), SINGLE)}))
    check_is_what_transformers_loads(folder)


def test_a_hubs_folder_with_two_sets_is_read_as_transformers_reads_it(folder: Path) -> None:
    """What a commit of the hub holds cannot be moved away."""
    expected = weights_of(folder)["model.layers.1.mlp.up_proj.weight"]
    write_shards(folder, other(weights_of(folder)))
    np.testing.assert_array_equal(WeightRows(spec_of(folder)).in_matrix(1), expected.numpy())


def spec_of(folder: Path) -> ModelSpec:
    """Described while it had one set alone."""
    alone = Path(shutil.copytree(folder, folder.with_name("alone")))
    (alone / INDEX).unlink()
    found = describe(str(alone))
    return ModelSpec(**{**vars(found), "folder": str(folder)})


def test_an_old_index_beside_newer_shards(folder: Path) -> None:
    """Shards of an earlier cut are left over: those that the index names are read, all of each file."""
    tensors = weights_of(folder)
    (folder / SINGLE).unlink()
    write_shards(folder, other(tensors), files=4)
    files = write_shards(folder, tensors, files=2)
    check_is_what_transformers_loads(folder)
    # a tensor in two of them, and one that the index does not know
    write(files[0], load_file(files[0]) | {"lm_head.weight": tensors["lm_head.weight"] + 3})
    check_is_what_transformers_loads(folder)
    files[1].unlink()
    assert files[1].name in refusal(folder)


@pytest.mark.parametrize("text", ["[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "{"])
def test_a_broken_index(folder: Path, text: str) -> None:
    (folder / SINGLE).unlink()
    (folder / INDEX).write_text(text)
    assert INDEX in refusal(folder)


def test_an_adapter_is_neither_applied_nor_passed_over(folder: Path) -> None:
    spec = describe(str(folder))
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "x"}')
    assert "an adapter beside or without its weights (adapter_config.json). Next: merge it" in refusal(folder)
    for read in (lambda: load_model(spec, "cpu"), lambda: WeightRows(spec)):  # put there later
        with pytest.raises(ModelError, match=r"adapter_config\.json"):
            read()
    (folder / SINGLE).unlink()
    assert "without its weights" in refusal(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"_attn_implementation": "flash_attention_2"},
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation": "flex_attention", "_attn_implementation_autoset": True},
        {"output_attentions": True},
        {"use_cache": True, "output_hidden_states": True},
    ],
)
def test_what_the_writers_machine_had_is_not_asked_of_ours(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder, **changes)
    model = load_model(describe(str(folder)), "cpu")
    assert model.attention == "sdpa"


@pytest.mark.parametrize("key", ["quantization_config", "compression_config"])
@pytest.mark.parametrize("nested", [False, True])
def test_quantised_weights_wherever_the_config_says_it(folder: Path, key: str, nested: bool) -> None:
    said = {key: {"quant_method": "compressed-tensors"}}
    edit(folder, **({"text_config": said} if nested else said))
    assert "compressed-tensors ones" in refusal(folder)


def test_weights_of_a_base_model_without_its_prefix(folder: Path) -> None:
    """As `AutoModel` saves them: no `model.` before the names, no head, which the config ties."""
    tensors = {n.removeprefix("model."): t for n, t in weights_of(folder).items() if n != "lm_head.weight"}
    write(folder / SINGLE, tensors)
    assert "lm_head.weight" in refusal(folder)
    edit(folder, tie_word_embeddings=True)
    spec = check_is_what_transformers_loads(folder)
    assert (spec.gate, spec.unembed) == ("layers.{layer}.mlp.gate_proj.weight", "embed_tokens.weight")


def test_two_tensors_for_one_parameter(folder: Path) -> None:
    tensors = weights_of(folder)
    name = "layers.1.mlp.gate_proj.weight"
    write(folder / SINGLE, tensors | {name: tensors[f"model.{name}"] + 1})
    assert f"one stored tensor for model.{name}, found" in refusal(folder)


def test_a_head_of_its_own_though_the_config_ties_it(folder: Path) -> None:
    edit(folder, tie_word_embeddings=True)
    assert check_is_what_transformers_loads(folder).unembed == "lm_head.weight"


RENAMED: dict[str, Callable[[str], str]] = {
    "Gemma3ForConditionalGeneration": lambda n: n.replace("language_model.model.", "model.language_model."),
    "Mistral3ForConditionalGeneration": lambda n: n.replace("language_model.model.", "model.language_model."),
    "Qwen3_5ForCausalLM": lambda n: n.replace("model.", "model.language_model.", 1),
}


@pytest.mark.parametrize("architecture", RENAMED)
def test_names_of_another_version(architecture: str, tiny_spec: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_spec(architecture).folder, tmp_path / "model"))
    tensors = weights_of(folder)
    renamed = {RENAMED[architecture](name): tensor for name, tensor in tensors.items()}
    assert renamed.keys() != tensors.keys()
    write(folder / SINGLE, renamed)
    assert "language_model" in check_is_what_transformers_loads(folder).gate


def test_a_file_that_the_config_names(folder: Path) -> None:
    tensors = weights_of(folder)
    write(folder / "best.safetensors", other(tensors))
    edit(folder, transformers_weights="best.safetensors")
    check_is_what_transformers_loads(folder)
    np.testing.assert_array_equal(
        WeightRows(describe(str(folder))).gate_matrix(0), (tensors["model.layers.0.mlp.gate_proj.weight"] + 1).numpy()
    )
    for wrong in ("../best.safetensors", "best.bin", 3):
        edit(folder, transformers_weights=wrong)
        assert "take that key out" in refusal(folder)


def test_other_weights_than_those_loaded_are_found_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever makes transformers and the rows read different files, `load` sees it."""
    spec = describe(str(folder))
    read = WeightRows.gate
    monkeypatch.setattr(WeightRows, "gate", lambda rows, layer, n: read(rows, layer, n) + np.float32(layer == 1))
    with pytest.raises(ModelError, match=r"L1: expected w_gate of N(0|47) as in its weight files, found another"):
        load_model(spec, "cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"module": "input_layernorm"},
            "what input_layernorm leaves as its MLP's input, .* with that of post_attention_layernorm",
        ),
        (
            {"kind": "none", "module": None},
            "no norm before its MLP, .* with that of post_attention_layernorm",
        ),
        ({"kind": "layer"}, "in the direction of the layer norm"),
        ({"offset": 1.0}, "of its length away from it"),
        ({"gain": None}, "with the gain of nothing"),
    ],
)
def test_another_norm_than_described_is_found_out(plain: Path, changes: dict[str, Any], words: str) -> None:
    spec = describe(str(plain))
    norms = tuple(type(norm)(**{**vars(norm), **changes}) for norm in spec.norms)
    with pytest.raises(ModelError, match=words):
        load_model(ModelSpec(**{**vars(spec), "norms": norms}), "cpu")

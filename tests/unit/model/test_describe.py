"""What is described, and what is refused, each in one line that names the class or the file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.errors import ModelError, StoreError
from gluscope.core.size import Size
from gluscope.model import adapter
from gluscope.model.describe import describe, fetch_model
from gluscope.model.files import fingerprint, peek
from gluscope.model.load import load_model
from gluscope.model.spec import ModelSpec
from helpers.tiny_models import make
from safetensors.numpy import load_file, save_file


@pytest.fixture(scope="module")
def olmo(tmp_path_factory) -> Path:
    return make("OlmoForCausalLM", tmp_path_factory.mktemp("olmo") / "model", n_layers=3, dtype="float16")


@pytest.fixture
def copy(olmo, tmp_path) -> Path:
    return Path(shutil.copytree(olmo, tmp_path / "copy"))


def refusal(model, revision=None) -> str:
    with pytest.raises(ModelError) as caught:
        describe(str(model), revision)
    assert "\n" not in str(caught.value)
    assert str(model) in str(caught.value)
    return str(caught.value)


def edit(folder: Path, **changes) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def rewrite(folder: Path, change) -> Path:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_a_described_model(olmo, tmp_path):
    spec = describe(str(olmo))
    assert (spec.architecture, spec.n_layers, spec.d_model, spec.d_mlp) == ("OlmoForCausalLM", 3, 32, 48)
    assert (spec.n_vocab, spec.act_fn, spec.dtype, spec.bias, spec.fused) == (320, "silu", "float16", False, False)
    assert spec.gate.format(layer=2) == "model.layers.2.mlp.gate_proj.weight"
    assert (spec.embed, spec.unembed) == ("model.embed_tokens.weight", "lm_head.weight")
    assert spec.revision == fingerprint(olmo)
    assert spec.parameters == sum(array.size for array in load_file(olmo / "model.safetensors").values())
    spec.save(tmp_path / "model.json")
    assert ModelSpec.read(tmp_path / "model.json") == spec
    assert list(tmp_path.iterdir()) == [tmp_path / "model.json"]


def test_a_damaged_description_is_named(olmo, tmp_path):
    file = tmp_path / "model.json"
    describe(str(olmo)).save(file)
    whole = file.read_bytes()
    for damaged in (b"", whole[:-3], b"[]", b"{}", whole.replace(b'"folder"', b'"fxlder"'), b"\xff" + whole):
        file.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"model\.json: expected a model's description.* made anew"):
            ModelSpec.read(file)


def test_describing_reads_headers_not_weights(copy):
    """The same but for the revision, whatever the numbers in the files are."""
    before = describe(str(copy))
    rewrite(copy, lambda tensors: [array.fill(np.nan) for array in tensors.values()])
    after = describe(str(copy))
    assert after.revision != before.revision
    assert ModelSpec(**{**vars(after), "revision": before.revision}) == before


def test_tied_embeddings_and_fused_projections(tiny_spec):
    assert tiny_spec("Gemma2ForCausalLM").unembed == tiny_spec("Gemma2ForCausalLM").embed
    phi = tiny_spec("Phi3ForCausalLM")
    assert phi.fused
    assert phi.d_mlp == 48


def test_checkpoint_names_with_another_prefix_are_found(tiny_spec):
    """Gemma-3 with images is saved as language_model.model.layers, and loaded as model.language_model.layers."""
    spec = tiny_spec("Gemma3ForConditionalGeneration")
    assert spec.gate == "language_model.model.layers.{layer}.mlp.gate_proj.weight"
    assert spec.modules["layers"] == "model.language_model.layers"
    assert peek(spec.folder) == Size.dense(3, 48)


def test_sharded_files(tmp_path):
    folder = make("OlmoForCausalLM", tmp_path / "sharded", max_shard_size="30KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    assert describe(str(folder)).n_layers == 2
    victim = sorted(folder.glob("*.safetensors"))[1]
    victim.unlink()
    assert victim.name in refusal(folder)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("GPT2LMHeadModel", "not gated"),
        ("GPTNeoXForCausalLM", "not gated"),
        ("FalconH1ForCausalLM", "scales its gate"),
        ("BitNetForCausalLM", "norm before its last projection"),
    ],
)
def test_other_mlps_are_refused_by_class_name(architecture, reason, tmp_path):
    text = refusal(make(architecture, tmp_path / "model"))
    assert architecture in text
    assert reason in text
    assert "Olmo2, " in text


def test_what_no_list_knows_is_found_out(tmp_path, monkeypatch):
    """Without the list of exceptions: a norm in the MLP is seen from its modules, a scaled gate when it is tried."""
    monkeypatch.setattr(adapter, "_OTHERWISE", {})
    assert "ffn_sub_norm" in refusal(make("BitNetForCausalLM", tmp_path / "bitnet"))
    spec = describe(str(make("FalconH1ForCausalLM", tmp_path / "falcon")))
    with pytest.raises(ModelError, match=r"an MLP that computes silu\(gate\), found FalconH1ForCausalLM"):
        load_model(spec, "cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "nothing", "architectures": ["NothingForCausalLM"]}, ["NothingForCausalLM", "code of its own"]),
        (
            {
                "model_type": "nothing",
                "architectures": ["NothingForCausalLM"],
                "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
            },
            ["NothingForCausalLM", "never run"],
        ),
        ({"quantization_config": {"quant_method": "awq"}}, ["awq", "before quantisation"]),
        ({"hidden_act": "sigmoid"}, ["Sigmoid"]),
        ({"intermediate_size": 64}, ["gate_proj", "(64, 32)", "(48, 32)"]),
        ({"num_hidden_layers": 4}, ["weights for all of OlmoForCausalLM", "none for model.layers.3"]),
    ],
)
def test_configs_that_do_not_fit(changes, words, copy):
    (copy / "evil.py").write_text(f"open({str(copy / 'ran')!r}, 'w')")
    text = refusal(edit(copy, **changes))
    assert all(word in text for word in words), text
    assert not (copy / "ran").exists()


def test_pickles_are_never_opened(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    text = refusal(copy)
    assert "pytorch_model.bin, a pickle" in text
    assert "save_pretrained" in text


def test_missing_files(copy, tmp_path):
    assert "neither" in refusal("/no/such/folder")
    (tmp_path / "empty").mkdir()
    (copy / "config.json").unlink()
    assert "config.json" in refusal(copy)
    assert "config.json" in refusal(tmp_path / "empty")


def test_no_weights_at_all(copy):
    (copy / "model.safetensors").unlink()
    assert "weights in safetensors" in refusal(copy)


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"model_type"'])
def test_broken_config(text, copy):
    (copy / "config.json").write_text(text)
    assert "config.json" in refusal(copy)


def test_damaged_weight_files(copy):
    file, whole = copy / "model.safetensors", (copy / "model.safetensors").read_bytes()
    for damage, word in [
        (whole[:-1], "bytes of weights"),
        (whole[:5], "damaged header"),
        (b"\xff" * 8 + whole[8:], "damaged header"),
        (whole[:8] + b"x" + whole[9:], "damaged header"),
        (whole.replace(b'"F16","shape":[48,32]', b'"F16","shape":[47,32]', 1), "damaged header"),
    ]:
        file.write_bytes(damage)
        assert word in refusal(copy)


def test_tensors_missing_or_of_another_type(copy):
    rewrite(copy, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    assert "model.layers.1.mlp.up_proj.weight" in refusal(copy)


def test_integers_are_not_weights(copy):
    name = "model.layers.0.mlp.down_proj.weight"
    rewrite(copy, lambda tensors: tensors.update({name: tensors[name].astype(np.int8)}))
    assert "I8" in refusal(copy)


def test_a_folders_revision_can_be_pinned(copy):
    spec = describe(str(copy))
    assert describe(str(copy), spec.revision) == spec
    assert "revision main" in refusal(copy, "main")
    edit(copy, rope_theta=1.0)
    assert describe(str(copy)).revision != spec.revision


def offline(monkeypatch, tmp_path) -> Path:
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    return cache


def cached(cache: Path, olmo: Path, commit: str = "c" * 40) -> Path:
    """A hub snapshot as the hub's own client lays it out."""
    repo = cache / "models--someone--olmo"
    shutil.copytree(olmo, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    return repo / "snapshots" / commit


def test_hub_ids_from_the_cache(olmo, tmp_path, monkeypatch):
    snapshot = cached(offline(monkeypatch, tmp_path), olmo)
    spec = describe("someone/olmo")
    assert (spec.model, spec.revision, spec.folder) == ("someone/olmo", "c" * 40, str(snapshot))
    assert fetch_model("someone/olmo", "c" * 40) == snapshot
    assert peek("someone/olmo") == peek("someone/olmo", "c" * 40) == Size.dense(3, 48)
    assert peek("someone/olmo", "d" * 40) is None


def test_hub_ids_that_are_not_there(tmp_path, monkeypatch):
    offline(monkeypatch, tmp_path)
    text = refusal("someone/else", "v1")
    assert "nothing in its cache at v1" in text
    assert "HF_HUB_OFFLINE" in text
    assert peek("someone/else") is None


def test_a_network_that_is_down(tmp_path, monkeypatch):
    from huggingface_hub import constants

    offline(monkeypatch, tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "the hub out of reach and nothing in its cache" in refusal("someone/else")


def test_peek_knows_only_what_the_config_says(copy, tmp_path):
    assert peek(str(copy)) == Size.dense(3, 48)
    assert peek(str(edit(copy, text_config={"num_hidden_layers": 5, "intermediate_size": 7}))) == Size.dense(5, 7)
    assert peek(str(edit(copy, text_config={"num_hidden_layers": 5, "intermediate_size": [7, 8]}))) is None
    assert peek(str(edit(copy, text_config=None, block_auto_adjust_ff_dim=True))) is None
    (copy / "config.json").write_text("[]")
    assert peek(str(copy)) is None
    assert peek(str(tmp_path)) is None
    assert peek("/no/such") is None

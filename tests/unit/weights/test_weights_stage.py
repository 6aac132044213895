"""The stage as a whole on tiny models, against float64 loops over weights that transformers loaded."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from gluscope.core.errors import StoreError
from gluscope.core.schema import WEIGHTS
from gluscope.model.describe import describe
from gluscope.model.rows import WeightRows
from gluscope.weights import nearest, stage, tokens
from gluscope.weights.classes import rw_class
from gluscope.weights.file import WeightsReader
from gluscope.weights.folded import signs_of
from gluscope.weights.products import signs
from gluscope.weights.types import COSINES, NEAREST, TOKENS, Cosine, LayerWeights, Vector
from helpers.tiny_models import make
from safetensors.numpy import load_file, save_file

LABELS = ("pair", "vector", "end", "convention", "quantile", "rw_class_name")
MODELS: dict[str, dict[str, Any]] = {
    "OlmoForCausalLM": {"dtype": "bfloat16", "max_shard_size": "40KB", "n_layers": 3},  # layer norm without gain
    "Phi3ForCausalLM": {"dtype": "float16"},  # gate and in are one tensor
    "Gemma2ForCausalLM": {"tie_word_embeddings": True},  # gain 1 + w, and a norm behind the MLP
    "StableLmForCausalLM": {},  # layer norm with gain and bias
    "OlmoHybridForCausalLM": {},  # a norm before the MLP in one layer, behind it in the other
}


class Case:
    """A model, its results on disk, and its weights as float64 by transformers."""

    def __init__(self, architecture: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = make(architecture, folder / "model", **MODELS[architecture])
        if architecture != "OlmoForCausalLM":
            strong_gains(self.folder / "model.safetensors")
        self.spec = describe(str(self.folder))
        monkeypatch.setattr(nearest, "_BLOCK", 20)  # several blocks, the last one not full
        monkeypatch.setattr(tokens, "_TOKEN_BLOCK", 77)
        monkeypatch.setattr(tokens, "_NEURON_BLOCK", 30)
        self.path = folder / "weights.zarr"
        self.said: list[str] = []
        stage.run_weights(self.spec, self.path / "zarr.json", attributes={"code": "abc"}, say=self.said.append)
        self.hf = transformers.AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float64)

    def stored(self, kind: Vector, layer: int, neuron: int) -> np.ndarray:
        mlp = self.hf.model.layers[layer].mlp
        if kind is Vector.OUT:
            return mlp.down_proj.weight[:, neuron].detach().numpy()
        if hasattr(mlp, "gate_up_proj"):
            return mlp.gate_up_proj.weight[neuron + (kind is Vector.IN) * self.spec.d_mlp].detach().numpy()
        return (mlp.gate_proj if kind is Vector.GATE else mlp.up_proj).weight[neuron].detach().numpy()

    def vector(self, kind: Vector, layer: int, neuron: int) -> np.ndarray:
        """As it reads from or writes to the residual stream: by hand, from what is known of each class."""
        block, vector = self.hf.model.layers[layer], self.stored(kind, layer, neuron).copy()
        name = type(self.hf).__name__
        gain = {
            "Phi3ForCausalLM": lambda: block.post_attention_layernorm.weight,
            "Gemma2ForCausalLM": lambda: 1 + block.pre_feedforward_layernorm.weight,
            "StableLmForCausalLM": lambda: block.post_attention_layernorm.weight,
            "OlmoHybridForCausalLM": lambda: block.post_attention_layernorm.weight if layer == 0 else None,
        }.get(name, lambda: None)()
        if kind is not Vector.OUT and gain is not None:
            vector *= gain.detach().numpy()
        return vector - vector.mean() if name in ("OlmoForCausalLM", "StableLmForCausalLM") else vector


def strong_gains(file: Path) -> None:
    """Multiply the gains of all norms by factors from a fifth to five, or so."""
    tensors, rng = load_file(file), np.random.default_rng(5)
    for name, tensor in tensors.items():
        if tensor.ndim == 1 and "norm" in name and name.endswith("weight"):
            tensors[name] = (tensor * np.exp(rng.normal(0, 0.8, tensor.shape))).astype(tensor.dtype)
    save_file(tensors, file, {"format": "pt"})


@pytest.fixture(scope="module", params=list(MODELS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    with pytest.MonkeyPatch.context() as monkeypatch:
        return Case(request.param, tmp_path_factory.mktemp("weights"), monkeypatch)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def some(case: Case) -> list[tuple[int, int]]:
    return [(0, 0), (0, 31), (case.spec.n_layers - 1, 20), (1, case.spec.d_mlp - 1)]


def test_cosines_norms_sign_and_class(case: Case) -> None:
    for layer, neuron in some(case):
        found = WeightsReader(case.path).neuron(layer, neuron)
        vectors = {kind: case.vector(kind, layer, neuron) for kind in Vector}
        expected = {kind: cosine(*(vectors[v] for v in kind.vectors)) for kind in COSINES}
        assert found.cosine == pytest.approx(expected, abs=1e-6)
        assert found.norm == pytest.approx({kind: np.linalg.norm(vector) for kind, vector in vectors.items()}, rel=1e-6)
        assert found.sign == (-1 if expected[Cosine.GATE_IN] < 0 else 1)
        assert found.rw_class is rw_class(*expected.values())
        layers_norms = [np.linalg.norm(case.vector(Vector.OUT, layer, n)) for n in range(case.spec.d_mlp)]
        smaller = sum(norm < np.linalg.norm(vectors[Vector.OUT]) for norm in layers_norms)
        assert found.norm_quantile[Vector.OUT] == pytest.approx(smaller / case.spec.d_mlp)


def test_tokens_against_a_sort_of_the_whole_vocabulary(case: Case) -> None:
    embed = case.hf.get_input_embeddings().weight.detach().numpy()
    unembed = case.hf.get_output_embeddings().weight.detach().numpy()
    length = np.linalg.norm(embed, axis=1, keepdims=True)
    if type(case.hf).__name__ in ("OlmoForCausalLM", "StableLmForCausalLM"):
        embed = embed - embed.mean(axis=1, keepdims=True)
        length = np.linalg.norm(embed, axis=1, keepdims=True)
    unit = embed / np.where(length > 0, length, 1)
    for layer, neuron in some(case):
        found = WeightsReader(case.path).neuron(layer, neuron)
        for kind in Vector:
            vector = case.vector(kind, layer, neuron)
            scores = unembed @ vector if kind is Vector.OUT else unit @ vector * np.sqrt(case.spec.d_model)
            order = np.argsort(-scores)
            for end, ids in ((found.tokens[kind].top, order), (found.tokens[kind].bottom, order[::-1])):
                assert [entry.token for entry in end] == ids[:TOKENS].tolist()
                assert [entry.score for entry in end] == pytest.approx(scores[ids[:TOKENS]], abs=1e-4)


def test_a_token_is_read_as_the_model_reads_its_embedding(case: Case) -> None:
    """The score is the gate of a residual stream that is the embedding alone, through the model's own norm."""
    embed = case.hf.get_input_embeddings().weight.detach()
    for layer in range(case.spec.n_layers):
        found, block = WeightsReader(case.path).layer(layer), case.hf.model.layers[layer]
        norm = getattr(block, "pre_feedforward_layernorm", block.post_attention_layernorm)
        stream = embed * 1e3  # so that eps plays no part
        if type(block).__name__.endswith("AttentionDecoderLayer") and "Hybrid" in type(block).__name__ and layer == 1:
            x = embed / embed.square().mean(-1, keepdim=True).sqrt()
        else:
            x = (norm(stream) - (getattr(norm, "bias", None) if hasattr(norm, "bias") else 0)).detach()
        for neuron in (3, 40):
            gate = x.numpy() @ case.stored(Vector.GATE, layer, neuron)
            top = found.token_id[neuron, Vector.GATE.index, 0]
            np.testing.assert_array_equal(top, np.argsort(-gate)[:TOKENS])
            np.testing.assert_allclose(found.token_score[neuron, Vector.GATE.index, 0], gate[top], rtol=1e-4)


def test_strong_gains_change_signs_and_classes(case: Case) -> None:
    """Else the tests above would say nothing of folding."""
    rows = WeightRows(case.spec)
    stored = np.stack([signs(rows.gate_matrix(n), rows.in_matrix(n)) for n in range(case.spec.n_layers)])
    changed = (stored != signs_of(case.spec)).sum(axis=1)
    if type(case.hf).__name__ == "OlmoHybridForCausalLM":
        assert changed[0] > 3
        assert changed[1] == 0
    elif type(case.hf).__name__ != "OlmoForCausalLM":
        assert changed.min() > 3


def test_nearest_over_all_layers(case: Case) -> None:
    everyone = list(itertools.product(range(case.spec.n_layers), range(case.spec.d_mlp)))
    for layer, neuron in some(case):
        own = case.vector(Vector.OUT, layer, neuron)
        cosines = {at: cosine(own, case.vector(Vector.OUT, *at)) for at in everyone if at != (layer, neuron)}
        expected = sorted(cosines, key=lambda at: -abs(cosines[at]))[:NEAREST]
        found = WeightsReader(case.path).neuron(layer, neuron).nearest
        assert [(other.layer, other.neuron) for other in found] == expected
        assert [other.cosine for other in found] == pytest.approx([cosines[at] for at in expected], abs=1e-6)
        assert [other.sign for other in found] == [WeightsReader(case.path).neuron(*at).sign for at in expected]


def test_signs_of_a_model_are_what_is_stored(case: Case) -> None:
    found = signs_of(case.spec)
    assert set(found.ravel().tolist()) == {-1, 1}
    for layer in range(case.spec.n_layers):
        np.testing.assert_array_equal(found[layer], WeightsReader(case.path).layer(layer).sign)


def test_refactored_view_is_what_refactored_weights_give(case: Case, tmp_path: Path) -> None:
    """Negate w_in and w_out in the file wherever sign is -1, run the stage on that, and compare every fact."""
    for block, sign in zip(case.hf.model.layers, signs_of(case.spec), strict=True):
        with torch.no_grad():
            flip = torch.from_numpy(sign.astype(np.float64))
            block.mlp.down_proj.weight *= flip
            if case.spec.fused:
                block.mlp.gate_up_proj.weight[case.spec.d_mlp :] *= flip[:, None]
            else:
                block.mlp.up_proj.weight *= flip[:, None]
    try:
        case.hf.to(torch.float32).save_pretrained(tmp_path / "model")
        stage.run_weights(describe(str(tmp_path / "model")), tmp_path / "weights.zarr")
    finally:
        case.hf = transformers.AutoModelForCausalLM.from_pretrained(case.folder, dtype=torch.float64)
    flipped = 0
    for layer, neuron in itertools.product(range(case.spec.n_layers), range(8)):
        stored, expected = (WeightsReader(at).neuron(layer, neuron) for at in (case.path, tmp_path / "weights.zarr"))
        view, flipped = stored.refactored, flipped + (stored.sign < 0)
        assert view.refactored is view
        assert view.convention == "refactored"
        assert expected.sign == 1
        assert view.rw_class is expected.rw_class
        assert view.cosine == pytest.approx(expected.cosine, abs=1e-6)
        assert view.tokens == expected.tokens or same_scores(view.tokens, expected.tokens)
        assert [(n.layer, n.neuron) for n in view.nearest] == [(n.layer, n.neuron) for n in expected.nearest]
        assert [n.cosine for n in view.nearest] == pytest.approx([n.cosine for n in expected.nearest], abs=1e-6)
        for kind in COSINES:
            assert view.chance[kind] == pytest.approx(expected.chance[kind], abs=1e-6)
    assert flipped > 3


def same_scores(a: Any, b: Any) -> bool:
    """Equal ids, scores equal to rounding: block sizes differ between the two runs."""
    ends = [(x, y) for kind in Vector for x, y in ((a[kind].top, b[kind].top), (a[kind].bottom, b[kind].bottom))]
    return all(
        [s.token for s in x] == [s.token for s in y]
        and np.allclose([s.score for s in x], [s.score for s in y], atol=1e-5)
        for x, y in ends
    )


def test_stored_form(case: Case) -> None:
    import xarray

    with xarray.open_zarr(case.path, consolidated=True) as opened:
        assert {name: opened[name].dims for name in WEIGHTS} == {name: s.dims for name, s in WEIGHTS.items()}
        assert {name: opened[name].dtype.name for name in WEIGHTS} == {name: s.dtype for name, s in WEIGHTS.items()}
        assert opened["pair"].values.tolist() == [kind.value for kind in COSINES]
        np.testing.assert_array_equal(opened["cosine"][1].values, WeightsReader(case.path).layer(1).cosine)
    about = WeightsReader(case.path).attributes
    assert (about["model_revision"], about["convention"], about["code"]) == (case.spec.revision, "raw", "abc")
    assert len(case.said) == 2 * case.spec.n_layers
    files = [path for path in case.path.rglob("*") if path.is_file()]
    of_layers = sum(stored.dims[0] == "layer" for stored in WEIGHTS.values())
    data = of_layers * case.spec.n_layers + 1 + len(LABELS)
    assert len(files) == data + len(WEIGHTS) + len(LABELS) + 1, "files of layers, and a zarr.json an array"


def test_a_neuron_is_the_layers_row(case: Case) -> None:
    layer = WeightsReader(case.path).layer(1)
    assert {field.name for field in fields(LayerWeights)} - {"router_cosine"} < set(WEIGHTS)
    neuron = WeightsReader(case.path).neuron(1, 5)
    assert [entry.token for entry in neuron.tokens[Vector.OUT].bottom] == layer.token_id[5, 2, 1].tolist()
    assert list(neuron.cosine.values()) == layer.cosine[5].tolist()


def test_neurons_that_do_not_exist(case: Case) -> None:
    for layer, neuron in ((case.spec.n_layers, 0), (0, case.spec.d_mlp), (-1, 0), (0, -1)):
        with pytest.raises(IndexError):
            WeightsReader(case.path).neuron(layer, neuron)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[12] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip_bit, Path.unlink])
@pytest.mark.parametrize("name", ["token_id/0.0.0.0.0", "chance/0.0.0.0", "chance_random/0", "zarr.json"])
def test_damage_is_refused_by_name(case: Case, tmp_path: Path, damage: Callable[[Path], None], name: str) -> None:
    import shutil

    copy = shutil.copytree(case.path, tmp_path / "weights.zarr")
    damage(copy / name)
    with pytest.raises(StoreError, match=r"weights\.zarr" if name == "zarr.json" else name):
        WeightsReader(copy).neuron(0, 0)
    with pytest.raises(StoreError, match="no such file"):
        WeightsReader(tmp_path / "nothing.zarr").neuron(0, 0)

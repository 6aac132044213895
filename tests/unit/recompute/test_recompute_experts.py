"""Neurons of experts from cache and model: gate and in where a token reaches the expert, nothing elsewhere, and the
router's weight beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.neuron import NeuronId
from gluscope.model.rows import WeightRows
from gluscope.recompute.stage import Origin, recompute
from gluscope.recompute.types import Recomputed
from gluscope.summary.shards import merge_shards
from gluscope.weights.file import WeightsReader
from gluscope.weights.folded import FoldedRows, signs_of
from gluscope.weights.stage import run_weights
from gluscope.weights.types import Vector
from helpers.brute_experts import Brute, brute
from helpers.scan_case import Case, prepare

NEURONS = {
    "OlmoeForCausalLM": [NeuronId(1, 3, "E2"), NeuronId(1, 23, "E5")],
    "Qwen2MoeForCausalLM": [NeuronId(1, 3, "E2"), NeuronId(1, 19, "ES")],
    "DeepseekV3ForCausalLM": [NeuronId(0, 20), NeuronId(0, 0)],
    "GptOssForCausalLM": [NeuronId(2, 3, "E2"), NeuronId(2, 0, "E0")],
}
Made = Callable[[str], tuple[Case, Brute]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, known = tmp_path_factory.mktemp("recomputed"), {}

    def get(architecture: str) -> tuple[Case, Brute]:
        if architecture not in known:
            place = folder / architecture
            case = prepare(place, architecture)
            case.scan(place / "0000.zarr.zip", cache=place / "cache.zarr", reducer="numba")
            merge_shards([place / "0000.zarr.zip"], place / "summary.zarr", sign=signs_of(case.spec))
            known[architecture] = case, brute(case.folder, case.ids)
        return known[architecture]

    return get


@pytest.mark.parametrize("source", ["cache", "model"])
@pytest.mark.parametrize("architecture", NEURONS)
def test_values_where_a_token_reaches_the_expert(architecture: str, source: str, made: Made, tmp_path: Path) -> None:
    case, slow = made(architecture)
    place, size = case.folder.parent, case.spec.size
    files = {size.place(neuron): tmp_path / f"{number}.npz" for number, neuron in enumerate(NEURONS[architecture])}
    origin = Origin(source, [place / "cache.zarr"], device="cpu")  # type: ignore[arg-type]
    layer = NEURONS[architecture][0].layer
    recompute(case.spec, place / "summary.zarr", case.data, layer, files, origin)
    for neuron in NEURONS[architecture]:
        found = Recomputed.read(files[size.place(neuron)], neuron)
        routed = neuron.expert.startswith("E") and neuron.expert != "ES"
        assert (found.weight is not None) == routed
        begin = 0
        for row, length in zip(found.rows.tolist(), found.lengths.tolist(), strict=True):
            part = slice(begin, begin := begin + length)
            positions, values = slow.values[layer, neuron.expert][row]
            expected = np.full((3, length), np.nan)
            expected[:2, positions] = values[:, neuron.neuron, :2].T
            np.testing.assert_allclose(found.gate[part], expected[0], atol=0.02, rtol=0.01)
            np.testing.assert_allclose(found.in_[part], expected[1], atol=0.02, rtol=0.01)
            if found.weight is not None:
                expected[2, positions] = slow.weights[layer, neuron.expert][row]
                np.testing.assert_allclose(found.weight[part], expected[2], atol=1e-4)


@pytest.mark.parametrize("architecture", ["OlmoeForCausalLM", "Qwen2MoeForCausalLM", "GptOssForCausalLM"])
def test_weights_of_experts(architecture: str, made: Made, tmp_path: Path) -> None:
    """Every neuron's cosines, sign and those with the router's row, one by one in float64; nearest over all of them."""
    case, _ = made(architecture)
    run_weights(case.spec, tmp_path / "weights.zarr")
    reader, rows, size = WeightsReader(tmp_path / "weights.zarr"), WeightRows(case.spec), case.spec.size
    outs = {}
    for layer, neurons in enumerate(size.layers):
        gain = rows.gain(layer).astype(np.float64)  # type: ignore[union-attr]
        whole = reader.layer(layer)
        for place in range(neurons.count):
            name = size.neuron(layer, place)
            gate, in_ = (part(layer, place).astype(np.float64) * gain for part in (rows.gate, rows.in_))
            out = rows.out(layer, place).astype(np.float64)
            outs[layer, place] = out / np.linalg.norm(out)
            np.testing.assert_allclose(
                whole.cosine[place], [cosine(in_, out), cosine(gate, out), cosine(gate, in_)], atol=1e-5
            )
            assert whole.sign[place] == (-1 if gate @ in_ < 0 else 1)
            found = reader.neuron(layer, place).router
            if not name.expert or name.expert == "ES":
                assert found is None
                continue
            router = rows.router(layer)[int(name.expert[1:])].astype(np.float64) * gain
            assert found is not None
            for vector, own in zip((Vector.GATE, Vector.IN, Vector.OUT), (gate, in_, out), strict=True):
                assert found[vector] == pytest.approx(cosine(own, router), abs=1e-5)
        assert (whole.rw_class[neurons.count :] == -1).all()
    names, matrix = list(outs), np.stack(list(outs.values()))
    for at in (0, len(names) // 2, len(names) - 1):
        size_of = np.abs(matrix @ matrix[at])
        size_of[at] = -1
        best = names[int(size_of.argmax())]
        first = reader.neuron(*names[at]).nearest[0]
        assert (first.layer, first.neuron) == best
    assert FoldedRows(rows).router(case.spec.n_layers - 1).shape[1] == case.spec.d_model


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

"""Neurons of experts from cache, replay and model: gate and in where a token reaches the expert, nothing elsewhere, and
the router's weight beside them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from gluscope.core.errors import StoreError
from gluscope.core.neuron import NeuronId
from gluscope.model.rows import WeightRows
from gluscope.recompute.from_replay import from_replay
from gluscope.replay.file import ReplayReader
from gluscope.weights.file import WeightsReader
from gluscope.weights.folded import FoldedRows
from gluscope.weights.types import Vector
from helpers.brute_experts import Brute, brute
from helpers.expert_run import ExpertRun
from helpers.scan_case import prepare

NEURONS = {
    "OlmoeForCausalLM": [NeuronId(1, 3, "E2"), NeuronId(1, 23, "E5")],
    "Qwen2MoeForCausalLM": [NeuronId(1, 3, "E2"), NeuronId(1, 19, "ES")],
    "DeepseekV3ForCausalLM": [NeuronId(0, 20), NeuronId(0, 0)],
    "GptOssForCausalLM": [NeuronId(2, 3, "E2"), NeuronId(2, 0, "E0")],
}
Made = Callable[[str], tuple[ExpertRun, Brute]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, known = tmp_path_factory.mktemp("recomputed"), {}

    def get(architecture: str) -> tuple[ExpertRun, Brute]:
        if architecture not in known:
            case = prepare(folder / architecture, architecture)
            known[architecture] = ExpertRun.make(case, "raw"), brute(case.folder, case.ids)
        return known[architecture]

    return get


@pytest.mark.parametrize("source", ["cache", "replay", "model"])
@pytest.mark.parametrize("architecture", NEURONS)
def test_values_where_a_token_reaches_the_expert(architecture: str, source: str, made: Made, tmp_path: Path) -> None:
    run, slow = made(architecture)
    for neuron in NEURONS[architecture]:
        found = run.values(neuron, source, tmp_path)
        routed = neuron.expert.startswith("E") and neuron.expert != "ES"
        assert (found.weight is not None) == routed
        begin = 0
        for row, length in zip(found.rows.tolist(), found.lengths.tolist(), strict=True):
            part = slice(begin, begin := begin + length)
            positions, values = slow.values[neuron.layer, neuron.expert][row]
            expected = np.full((3, length), np.nan)
            expected[:2, positions] = values[:, neuron.neuron, :2].T
            np.testing.assert_allclose(found.gate[part], expected[0], atol=0.02, rtol=0.01)
            np.testing.assert_allclose(found.in_[part], expected[1], atol=0.02, rtol=0.01)
            if found.weight is not None:
                expected[2, positions] = slow.weights[neuron.layer, neuron.expert][row]
                np.testing.assert_allclose(found.weight[part], expected[2], atol=1e-4)


@pytest.mark.parametrize("architecture", NEURONS)
def test_a_replay_keeps_what_the_model_gives_however_it_is_cut(architecture: str, made: Made, tmp_path: Path) -> None:
    """All neurons of a layer's MLPs in one replay, in texts alone and in shards: gate and in to float16, the router's
    weight to the last bits of a forward pass."""
    run, _ = made(architecture)
    spec, neurons = run.case.spec, NEURONS[architecture] + [NeuronId(0, 1, expert) for expert in ("E0", "E1", "")]
    known = [neuron for neuron in dict.fromkeys(neurons) if neuron.expert in spec.size.layers[neuron.layer].names]
    names = {shards: [shard.name for shard in run.case.plan_of(shards).shards] for shards in (1, 3)}
    for shards, how in ((1, {"batch_tokens": 1}), (3, {"batch_tokens": 25})):
        for name in names[shards]:
            run.replay(tmp_path / f"{shards}-{name}", known, name, shards, **how)
    for neuron in known:
        model = run.values(neuron, "model", tmp_path)
        rows = {spec.size.place(neuron): model.rows}
        for shards in names:
            with ExitStack() as stack:
                readers = [stack.enter_context(ReplayReader(tmp_path / f"{shards}-{name}")) for name in names[shards]]
                (found,) = from_replay(WeightRows(spec), readers, neuron.layer, rows).values()
            assert (found.id, found.source, found.dtype) == (neuron, "replay", "float16")
            for name, tolerance in (("gate", 2e-3), ("in_", 2e-3), ("weight", 1e-5)):
                if getattr(model, name) is not None:
                    np.testing.assert_allclose(getattr(found, name), getattr(model, name), rtol=tolerance, atol=1e-5)
            assert found.gate_bound == pytest.approx(model.gate_bound, rel=1e-5)


@pytest.mark.parametrize("damage", ["cut", "turned", "gone"])
def test_damaged_weights_of_a_replay_are_refused_by_name(damage: str, made: Made, tmp_path: Path) -> None:
    run, _ = made("OlmoeForCausalLM")
    run.replay(tmp_path / "replay L1-E2-N3", [NeuronId(1, 3, "E2")])
    file = tmp_path / "replay L1-E2-N3/weight/0"
    data = bytearray(file.read_bytes())
    data[12] ^= 1
    file.write_bytes(data[:-9] if damage == "cut" else data)
    if damage == "gone":
        file.unlink()
    with pytest.raises(StoreError, match="replay L1-E2-N3"):
        run.values(NeuronId(1, 3, "E2"), "replay", tmp_path)


@pytest.mark.parametrize("architecture", ["OlmoeForCausalLM", "Qwen2MoeForCausalLM", "GptOssForCausalLM"])
def test_weights_of_experts(architecture: str, made: Made) -> None:
    """Every neuron's cosines, sign and those with the router's row, one by one in float64; nearest over all of them."""
    run, _ = made(architecture)
    case = run.case
    reader, rows, size = WeightsReader(run.files.weights), WeightRows(case.spec), case.spec.size
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

"""A reader's own text in a mixture of experts: values where its tokens reach the expert, and the strongest neurons,
against a float64 model and plain loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from gluscope.browse.own_text import OwnText, model_of_run
from gluscope.browse.served import Served
from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.neuron import NeuronId, is_routed
from gluscope.page.tokens import TokenKind
from helpers.brute_experts import Brute, brute
from helpers.expert_run import ExpertRun
from helpers.scan_case import K, prepare, texts

TEXT = texts()[4]
NEURONS = [NeuronId(0, 20), NeuronId(1, 3, "ES"), *(NeuronId(1, 3, f"E{expert}") for expert in range(8))]


@dataclass
class Made:
    """slow: of TEXT alone, as it goes through the model."""

    run: ExpertRun
    own: OwnText
    slow: Brute

    def of(self, neuron: NeuronId) -> tuple[np.ndarray, np.ndarray]:
        """Positions that reach a neuron, and its gate, in, act and post there."""
        ((positions, values),) = self.slow.values[neuron.layer, neuron.expert]
        return positions, values[:, neuron.neuron]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    run = ExpertRun.make(prepare(tmp_path_factory.mktemp("own"), "DeepseekV3ForCausalLM"))
    files: Any = {name: str(path) for name, path in vars(run.files).items()}
    served = Served(
        run="tiny", **files, tokenizer=[], descriptions=[], kept=[], source="model", device="cpu", batch_tokens=4096,
        listed=None, versions={},
    )  # fmt: skip
    own = OwnText(served, model_of_run(served))
    return Made(run, own, brute(run.case.folder, [own._ids(TEXT)[0].tolist()]))


@pytest.mark.parametrize("neuron", NEURONS, ids=str)
def test_values_where_tokens_reach_the_expert(made: Made, neuron: NeuronId) -> None:
    found, (positions, values) = made.own.neuron(TEXT, neuron), made.of(neuron)
    skipped = np.array([skip for *_, skip in found["tokens"]])
    expected = np.full((4, len(skipped)), np.nan)
    expected[:, positions] = values.T
    expected[:, skipped] = np.nan
    for place, quantity in enumerate(Quantity):
        np.testing.assert_allclose(np.array(found[quantity.value], float), expected[place], rtol=2e-4, atol=2e-5)
    assert ("weight" in found) == is_routed(neuron.expert)
    if "weight" in found:
        weight = np.full(len(skipped), np.nan)
        weight[positions] = made.slow.weights[neuron.layer, neuron.expert][0]
        np.testing.assert_allclose(np.array(found["weight"], float), weight, rtol=1e-5)
    assert found["tokens"][0][1] == TokenKind.SPECIAL


def test_the_strongest_neurons_are_those_of_plain_loops(made: Made) -> None:
    summary, counted = made.run.results.summary, made.own._counted(made.own._ids(TEXT)[0])
    sign = summary.sign()
    expected: dict[SignCase, dict[str, tuple[float, float, int]]] = {case: {} for case in CASES}
    for layer, own in enumerate(made.run.case.spec.size.layers):
        listed = np.abs(summary.layer(layer).extreme_value[:, :, Quantity.POST.index])
        for place in range(own.count):
            neuron = own.neuron(layer, place)
            for at, (gate, in_, _, post) in zip(*made.of(neuron), strict=True):
                turn = int(sign[layer, place])
                (case,) = (one for one in CASES if one.gate_sign * gate > 0 and one.in_sign * in_ * turn > 0)
                last = float(listed[place, case.index, -1])
                if counted[at] and not np.isnan(last):
                    ratio = abs(post) / last
                    if ratio > expected[case].get(str(neuron), (-1.0, 0.0, 0))[0]:
                        expected[case][str(neuron)] = ratio, post * turn, int(at)
    found = made.own.strongest(TEXT)
    experts = 0
    for case in CASES:
        entries = found["cases"][case.value]
        best = sorted(expected[case].items(), key=lambda one: -one[1][0])[: len(entries)]
        assert len(entries) == min(25, len(expected[case]))
        np.testing.assert_allclose([one["ratio"] for one in entries], [one[0] for _, one in best], rtol=5e-4)
        for one in entries:
            _, value, position = expected[case][one["neuron"]]
            assert one["value"] == pytest.approx(value, rel=5e-4)
            assert (one["position"], one["k"]) == (position, K)
            experts += "/E" in one["neuron"]
    assert experts > 20

"""Laws of measured effects: planted neurons, batches, order; the file; which tokens are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gluscope.core.activation import act
from gluscope.core.cases import CASES, Quantity
from gluscope.core.errors import ModelError, StoreError
from gluscope.core.neuron import NeuronId
from gluscope.effect.ablate import Ablation, Texts
from gluscope.effect.choose import Chosen, choose
from gluscope.effect.measure import Measure
from gluscope.effect.types import Effect, mean_and_spread
from gluscope.model.capture import GatedModel
from gluscope.model.describe import describe
from gluscope.model.load import load_model
from gluscope.model.spec import ModelSpec
from gluscope.summary.types import LayerSummary, SampleTokens
from gluscope.weights.types import TokenEnds, TokenScore
from helpers.brute_effect import BruteForce, BruteForceExperts, by_case, ends, texts
from helpers.tiny_experts import make_experts
from helpers.tiny_models import make

LAYERS, LAST = 3, NeuronId(2, 4)
SIZE = 6.0  # of what the planted neuron adds to one logit, for each unit of post
EXACT = 1e-5  # norms are in float32 in a float64 model too


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return describe(str(make("OlmoForCausalLM", tmp_path_factory.mktemp("effect") / "model", n_layers=LAYERS)), None)


def run(model: GatedModel, neuron: NeuronId, chosen: Chosen, written: TokenEnds, tokens: int = 40) -> Effect:
    measure = Measure(model, texts(model.spec.n_vocab), neuron.layer, "float32", tokens)  # type: ignore[arg-type]
    return measure(neuron, chosen, written)


def test_a_neuron_that_writes_nothing_does_exactly_nothing(spec: ModelSpec) -> None:
    data, neuron = texts(spec.n_vocab), NeuronId(1, 7)
    model = load_model(spec, "cpu", "float32")
    with torch.inference_mode():
        model.linear(1, "out").weight[:, 7] = 0
    found = run(model, neuron, by_case(BruteForce(spec), data, neuron), ends(spec, 1, 7))
    there = ~np.isnan(found.change)
    assert there.any()
    assert (found.change[there] == 0).all()
    assert (found.kl[~np.isnan(found.kl)] == 0).all()
    assert (found.token == -1).all()
    assert np.isnan(found.signs).all()
    assert np.isnan(found.overlap).all()
    assert np.abs(found.post[found.row >= 0]).min() > 0


def test_a_planted_neuron_that_writes_one_token_shows_it_at_its_size(spec: ModelSpec) -> None:
    """Without a final norm, and with a stream that no other token reads in this direction, the logit moves by SIZE."""
    data, token = texts(spec.n_vocab), 77
    model = load_model(spec, "cpu", "float32")
    hf = model.hf_model
    hf.model.norm = torch.nn.Identity()  # type: ignore[union-attr, operator, assignment]
    with torch.inference_mode():
        head = hf.get_output_embeddings().weight  # type: ignore[operator]
        head[:, 0] = 0
        head[token, 0] = 1
        out = model.linear(LAST.layer, "out").weight
        out[:, LAST.neuron] = 0
        out[0, LAST.neuron] = SIZE
    written = TokenEnds((TokenScore(token, SIZE),), (TokenScore(3, 0.0),))
    chosen = by_case(BruteForce(spec), data, LAST)  # gate and in of the neuron are as they were
    found = run(model, LAST, chosen, written)
    for case, group, i in np.argwhere(found.row >= 0):
        post, sign = float(found.post[case, group, i]), CASES[case].sign(Quantity.POST)
        assert post * sign > 0
        end = 0 if sign > 0 else 1
        assert found.token[0, case, group, end, 0] == token
        # The logit moves by SIZE * post, and all log-probabilities by the same more or less: known from that of others.
    for case in range(4):
        posts = found.post[case, 0][found.row[case, 0] >= 0].astype(np.float64)
        end = 0 if CASES[case].sign(Quantity.POST) > 0 else 1
        moved = found.token_change[0, case, 0, end, 0] - found.token_change[0, case, 0, 1 - end, 0]
        np.testing.assert_allclose(moved, SIZE * posts.mean(), rtol=2e-4, atol=2e-5)
        assert found.overlap[0, case, 0] > 0


def test_neither_batches_nor_order_matter(spec: ModelSpec) -> None:
    data, neuron = texts(spec.n_vocab), NeuronId(1, 7)
    model, chosen = load_model(spec, "cpu", "float32"), by_case(BruteForce(spec), data, neuron)
    written = ends(spec, 1, 7)
    whole = run(model, neuron, chosen, written, tokens=10_000)
    turned = Chosen(chosen.row[..., ::-1].copy(), chosen.position[..., ::-1].copy())
    for other, back in ((run(model, neuron, chosen, written, tokens=1), 1), (run(model, neuron, turned, written), -1)):
        for name in ("change", "kl", "post", "logprob"):
            np.testing.assert_allclose(getattr(other, name)[..., ::back], getattr(whole, name), rtol=1e-4, atol=2e-6)
        np.testing.assert_allclose(other.token_change, whole.token_change, rtol=1e-4, atol=2e-6)
        np.testing.assert_array_equal(other.signs, whole.signs)


def test_neurons_do_not_depend_on_each_other_and_nothing_stays_hooked(spec: ModelSpec) -> None:
    data, model = texts(spec.n_vocab), load_model(spec, "cpu", "float32")
    brute, measure = BruteForce(spec), Measure(model, data, 1, "float32", 40)  # type: ignore[arg-type]

    def hooks() -> int:
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf_model.modules())

    before, found = hooks(), []
    for number in (7, 3, 7):
        neuron = NeuronId(1, number)
        found.append(measure(neuron, by_case(brute, data, neuron), ends(spec, 1, number)))
    np.testing.assert_array_equal(found[0].change, found[2].change)
    assert hooks() == before
    assert not any("forward" in vars(block) for block in model.blocks.children())


def test_where_blocks_read_more_than_the_stream_passes_are_whole(spec: ModelSpec) -> None:
    """The last block reads what the first one was given: the same numbers, by another way."""
    data, neuron = texts(spec.n_vocab), NeuronId(1, 7)
    model, chosen = load_model(spec, "cpu", "float32"), by_case(BruteForce(spec), data, neuron)
    blocks, kept = list(model.blocks.children()), {}
    blocks[0].register_forward_hook(lambda m, args, out: kept.update(out=out))
    blocks[2].register_forward_hook(lambda m, args, out: out + 0.1 * kept["out"])
    found = Measure(model, data, 1, "float32", 40)  # type: ignore[arg-type]
    one = found(neuron, chosen, ends(spec, 1, 7))
    assert found.ablation.from_layer is False
    sure = Measure(model, data, 1, "float32", 40)  # type: ignore[arg-type]
    sure.ablation.from_layer = False
    np.testing.assert_array_equal(one.change, sure(neuron, chosen, ends(spec, 1, 7)).change)


def test_skipped_tokens_keep_their_post_in_the_scope_of_the_case_as_the_definition_has_it(spec: ModelSpec) -> None:
    """A token that counts for nothing is in no case: only the others of the case lose their post."""
    data, neuron = texts(spec.n_vocab), NeuronId(1, 7)
    brute, model = BruteForce(spec), load_model(spec, "cpu", "float32")
    model.hf_model.double()
    chosen, written = by_case(brute, data, neuron), ends(spec, 1, 7)
    shown = {data.ids[row][position] for row, position in zip(chosen.row.flat, chosen.position.flat, strict=True)}
    skipped = tuple(sorted({token for ids in data.ids for token in ids} - shown))
    plain = Measure(model, data, 1, "float64", 40)(neuron, chosen, written)  # type: ignore[arg-type]
    measure = Measure(model, data, 1, "float64", 40)  # type: ignore[arg-type]
    measure.skipped = skipped
    found = measure(neuron, chosen, written)
    for case, group, i in np.argwhere(chosen.row >= 0):
        ids, at = data.ids[chosen.row[case, group, i]], int(chosen.position[case, group, i])
        zero = {p for p in brute.positions_of(ids, neuron, CASES[case]) if p <= at and ids[p] not in skipped}
        logp = brute.log_probabilities(ids, neuron)[at]
        change = logp - brute.log_probabilities(ids, neuron, zero)[at]
        assert found.kl[1, case, group, i] == pytest.approx((np.exp(logp) * change).sum(), rel=EXACT, abs=EXACT)
        if at + 1 < len(ids):
            assert found.change[1, case, group, i] == pytest.approx(change[ids[at + 1]], rel=EXACT, abs=EXACT)
    np.testing.assert_array_equal(found.kl[0], plain.kl[0])
    assert np.nanmax(np.abs(found.change[1] - plain.change[1])) > 1e-3  # leaving them out matters


LAST_EXPERTS = [
    ("OlmoeForCausalLM", NeuronId(2, 4, "E1")),
    ("Qwen2MoeForCausalLM", NeuronId(2, 4, "E1")),
    ("Qwen2MoeForCausalLM", NeuronId(2, 4, "ES")),  # whose output a weight multiplies
    ("GptOssForCausalLM", NeuronId(2, 4, "E1")),  # clamps, biases, interleaved weights
    ("Ernie4_5_MoeForCausalLM", NeuronId(1, 4, "E1")),
]


@pytest.mark.parametrize(("architecture", "neuron"), LAST_EXPERTS, ids=str)
def test_without_a_neuron_of_an_expert_is_as_without_its_weights(
    architecture: str, neuron: NeuronId, tmp_path: Path
) -> None:
    """Behind the last mixture no router chooses: the model with w_out set to 0 gives the same to rounding."""
    spec = describe(str(make_experts(architecture, tmp_path / "model")), None)
    model, data = load_model(spec, "cpu", "float32"), texts(spec.n_vocab)
    lengths = data.lengths
    ids = np.zeros((len(lengths), lengths.max()), np.int64)
    for row, text in enumerate(data.ids):
        ids[row, : len(text)] = text
    ablation = Ablation(model, neuron.layer)
    _, values = ablation.as_it_is(Texts(ids, lengths, lengths - 1), neuron)
    real = torch.arange(ids.shape[1]) < torch.from_numpy(lengths)[:, None]
    strongest = (values[2].abs() * real).argmax(1).numpy()  # at the last mixture no other token matters there
    batch = Texts(ids, lengths, strongest)
    before, values = ablation.as_it_is(batch, neuron)
    after = ablation.without(batch, neuron, torch.ones(ids.shape, dtype=torch.bool))
    assert ablation.from_layer
    reached = values[0] != 0
    assert reached.all() if neuron.expert == "ES" else 0 < reached.float().mean() < 1
    again, _ = ablation.as_it_is(batch, neuron)
    assert torch.equal(again, before), "something stayed changed"
    with torch.inference_mode():
        model.vectors(neuron.layer, neuron.expert, neuron.neuron)[2].zero_()
    expected, other = ablation.as_it_is(batch, neuron)
    torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(values, other)
    assert (after - before).abs().max() > 1e-3


def test_a_router_that_does_not_choose_by_topk_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = describe(str(make_experts("OlmoeForCausalLM", tmp_path / "model", vocab=90)), None)
    model, data, neuron = load_model(spec, "cpu", "float32"), texts(90), NeuronId(0, 5, "E1")
    chosen, written = by_case(BruteForceExperts(spec), data, neuron), ends(spec, 0, spec.size.place(neuron))

    def route(own: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        logits = x @ own.weight.T
        places = logits.argsort(-1, descending=True)[:, :2]
        return logits, logits.softmax(-1).gather(1, places), places

    monkeypatch.setattr(type(model.mlp(2).gate), "forward", route)
    with pytest.raises(ModelError, match=r"expected a router that chooses experts by topk, found OlmoeForCausalLM"):
        run(model, neuron, chosen, written)


def test_the_file(tmp_path: Path, spec: ModelSpec) -> None:
    data, neuron = texts(spec.n_vocab), NeuronId(1, 7)
    found = run(load_model(spec, "cpu", "float32"), neuron, by_case(BruteForce(spec), data, neuron), ends(spec, 1, 7))
    path = tmp_path / "L1/N7.npz"
    found.save(path)
    again = Effect.read(path, neuron)
    for name in found.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    with pytest.raises(StoreError, match=r"expected the effect of L1/N8, found that of L1/N7"):
        Effect.read(path, NeuronId(1, 8))
    with pytest.raises(StoreError, match="expected a measured effect, found no such file"):
        Effect.read(tmp_path / "none.npz")
    for cut in (100, path.stat().st_size - 30):
        (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:cut])
        with pytest.raises(StoreError, match="damage"):
            Effect.read(tmp_path / "cut.npz")


def test_the_strongest_and_as_many_typical_tokens_of_each_case_are_taken() -> None:
    random = np.random.default_rng(2)
    sample = SampleTokens(np.arange(40), np.arange(40, dtype=np.int32) % 7)
    part = LayerSummary.empty(1, 5, 40)
    part.sample_gate[0], part.sample_in[0] = random.normal(size=(2, 40))
    part.sample_gate[0, :3] = 0
    for case in CASES:
        filled = 5 - case.index
        at = (0, case.index, Quantity.POST.index)
        part.extreme_example[at][:filled] = sample.example[10 * case.index :][:filled]
        part.extreme_position[at][:filled] = sample.position[10 * case.index :][:filled]
    silu = act("silu")
    chosen = choose(part, sample, silu, 4)
    for case in CASES:
        most = min(4, 5 - case.index)
        own, control = (
            list(zip(r, p, strict=True))
            for r, p in zip(chosen.row[case.index], chosen.position[case.index], strict=True)
        )
        assert own[:most] == list(
            zip(
                part.extreme_example[0, case.index, 3, :most],
                part.extreme_position[0, case.index, 3, :most],
                strict=True,
            )
        )
        taken = [token for token in control if token[0] >= 0]
        assert len(taken) == most
        assert not set(taken) & set(own)
        sizes = []
        for row, position in taken:
            gate, in_ = float(part.sample_gate[0, row]), float(part.sample_in[0, row])
            assert sample.position[row] == position
            assert (np.sign(gate), np.sign(in_)) == (case.gate_sign, case.in_sign)
            sizes.append(abs(gate / (1 + np.exp(-gate)) * in_))
        assert sizes == sorted(sizes)


def test_means_and_spreads() -> None:
    assert mean_and_spread(np.array([np.nan])) is None
    assert mean_and_spread(np.array([2.0, np.nan])) == (2.0, 0.0, 1)
    assert mean_and_spread(np.array([1.0, 3.0])) == (2.0, pytest.approx(2**0.5), 2)

"""What a neuron does to predictions, from its definition: a float64 model, whole texts alone, twice, and numpy."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from gluscope.core.cases import CASES, SignCase
from gluscope.core.neuron import NeuronId, is_routed
from gluscope.effect.choose import Chosen
from gluscope.model.rows import WeightRows
from gluscope.model.spec import ModelSpec
from gluscope.weights.types import TokenEnds, TokenScore

EXAMPLES = 3


@dataclass
class Texts:
    """What `Measure` needs of a token data set."""

    ids: list[list[int]]

    @property
    def lengths(self) -> np.ndarray:
        return np.array(list(map(len, self.ids)))

    def input_ids(self, row: int) -> np.ndarray:
        return np.array(self.ids[row], np.int32)


def texts(n_vocab: int, seed: int = 5, longest: int = 14) -> Texts:
    random = np.random.default_rng(seed)
    return Texts([random.integers(3, n_vocab, length).tolist() for length in random.integers(2, longest, 12)])


class BruteForce:
    """The class as transformers has it, in float64 with plain attention."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.model = getattr(transformers, spec.architecture).from_pretrained(
            spec.folder, dtype=torch.float64, attn_implementation="eager"
        )

    def log_probabilities(self, ids: list[int], neuron: NeuronId, zero: set[int] = frozenset()) -> np.ndarray:  # type: ignore[assignment]
        """float64 [position, vocab], with post set to zero at the positions `zero`."""
        return self._run(ids, neuron, zero)[0]

    def positions_of(self, ids: list[int], neuron: NeuronId, case: SignCase) -> list[int]:
        """Where gate and in have the case's signs."""
        gate, in_ = self._run(ids, neuron, set())[1]
        return np.flatnonzero((np.sign(gate) == case.gate_sign) & (np.sign(in_) == case.in_sign)).tolist()

    def post(self, ids: list[int], neuron: NeuronId) -> np.ndarray:
        return self._run(ids, neuron, set())[2]

    def _run(self, ids: list[int], neuron: NeuronId, zero: set[int]) -> tuple[np.ndarray, Any, np.ndarray]:
        names, n = self.spec.modules, neuron.neuron
        mlp = self.model.get_submodule(f"{names['layers']}.{neuron.layer}.{names['mlp']}")
        seen: dict[str, np.ndarray] = {}

        def reads(_: Any, args: Any, output: torch.Tensor, name: str = "") -> None:
            seen[name] = output[0].numpy().copy()

        def zeroes(_: Any, args: Any) -> Any:
            post = args[0].clone()
            seen["post"] = post[0, :, n].numpy().copy()
            for position in zero:
                post[0, position, n] = 0
            return (post,)

        modules = {part: mlp.get_submodule(names[part]) for part in ("gate", "in", "out")}
        handles = [
            modules[part].register_forward_hook(lambda m, a, o, part=part: reads(m, a, o, part))
            for part in ("gate", "in")
        ]
        handles.append(modules["out"].register_forward_pre_hook(zeroes))
        try:
            with torch.no_grad():
                logits = self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].numpy()
        finally:
            for handle in handles:
                handle.remove()
        shifted = logits - logits.max(-1, keepdims=True)
        both = seen["gate"][:, n], seen["in"][:, n + (self.spec.d_mlp if self.spec.fused else 0)]
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)), both, seen["post"]


class BruteForceExperts(BruteForce):
    """The same of a mixture of experts, by transformers' own loop over experts.

    Without the neuron routers are held to the experts that they chose with it. What multiplies their output follows
    from the router's numbers, by the formula of the class.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.model = getattr(transformers, spec.architecture).from_pretrained(
            spec.folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
        )
        self.moved = 0  # tokens and layers at which a router would have chosen others without the neuron

    def _run(self, ids: list[int], neuron: NeuronId, zero: set[int]) -> tuple[np.ndarray, Any, np.ndarray]:
        choice: dict[int, torch.Tensor] = {}
        whole = self._pass(ids, neuron, set(), choice, hold=False)
        return self._pass(ids, neuron, zero, choice, hold=True) if zero else whole

    def _router_weights(self, mlp: Any, x: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """What multiplies the output of the experts `chosen`, from the numbers that the router has for x."""
        scores = x @ mlp.gate.weight.double().T
        if self.spec.architecture == "DeepseekV3ForCausalLM":
            own = torch.sigmoid(scores).gather(1, chosen)
            return own / (own.sum(1, keepdim=True) + 1e-20) * self.model.config.routed_scaling_factor
        own = torch.softmax(scores, 1).gather(1, chosen)
        return own / own.sum(1, keepdim=True) if self.spec.architecture == "Qwen3MoeForCausalLM" else own

    def _pass(
        self, ids: list[int], neuron: NeuronId, zero: set[int], choice: dict[int, torch.Tensor], hold: bool
    ) -> tuple[np.ndarray, Any, np.ndarray]:
        seen = torch.zeros(3, len(ids), dtype=torch.float64)
        blocks, handles, number = self.model.model.layers, [], neuron.neuron

        def route(mlp: Any, layer: int, args: Any) -> Any:
            x, chosen, weights = args
            if hold:
                self.moved += int((chosen.sort(1)[0] != choice[layer].sort(1)[0]).any(1).sum())
                return x, choice[layer], self._router_weights(mlp, x, choice[layer])
            own = self._router_weights(mlp, x, chosen)
            torch.testing.assert_close(own, weights.double(), rtol=1e-6, atol=1e-9)
            choice[layer] = chosen
            return None

        def routed(experts: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
            (x, chosen, weights), expert = args, int(neuron.expert[1:])
            gate, in_ = (half[number] for half in (experts.gate_up_proj[expert] @ x.T).chunk(2))
            seen[:] = torch.stack([gate, in_, _silu(gate) * in_]) * (chosen == expert).any(1)
            share = torch.where(chosen == expert, weights, 0).sum(1)
            output = output.clone()
            for at in zero:
                output[at] -= share[at] * seen[2, at] * experts.down_proj[expert][:, number]
            return output

        def dense(mlp: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
            x = args[0].reshape(len(ids), -1)
            gate, in_ = (getattr(mlp, name).weight[number] @ x.T for name in ("gate_proj", "up_proj"))
            seen[:] = torch.stack([gate, in_, _silu(gate) * in_])
            removed = torch.zeros_like(x)
            for at in zero:
                removed[at] = seen[2, at] * mlp.down_proj.weight[:, number]
            return output - removed.reshape(output.shape)

        for layer, block in enumerate(blocks):
            if hasattr(block.mlp, "experts"):
                before = functools.partial(route, block.mlp, layer)
                hook = lambda _, args, before=before: before(args)  # noqa: E731
                handles.append(block.mlp.experts.register_forward_pre_hook(hook))
        own = blocks[neuron.layer].mlp
        if is_routed(neuron.expert):
            handles.append(own.experts.register_forward_hook(routed))
        else:
            handles.append((own.shared_experts if neuron.expert else own).register_forward_hook(dense))
        try:
            with torch.no_grad():
                logits = self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        finally:
            for handle in handles:
                handle.remove()
        return torch.log_softmax(logits, -1).numpy(), seen[:2].numpy(), seen[2].numpy()


def _silu(gate: torch.Tensor) -> torch.Tensor:
    return gate / (1 + torch.exp(-gate))


def by_case(brute: BruteForce, data: Texts, neuron: NeuronId, seed: int = 3) -> Chosen:
    """Tokens of each case, found by the reference: the strongest, and some at random."""
    row = np.full((len(CASES), 2, EXAMPLES), -1, np.int64)
    position = np.full(row.shape, -1, np.int32)
    random = np.random.default_rng(seed)
    posts = [brute.post(ids, neuron) for ids in data.ids]
    for case in CASES:
        tokens = [(r, p) for r, ids in enumerate(data.ids) for p in brute.positions_of(ids, neuron, case)]
        tokens.sort(key=lambda token: -abs(posts[token[0]][token[1]]))
        random_ones = [tokens[i] for i in random.permutation(len(tokens))[:EXAMPLES]]
        for group, own in enumerate((tokens[:EXAMPLES], random_ones)):
            for i, (r, p) in enumerate(own):
                row[case.index, group, i], position[case.index, group, i] = r, p
    return Chosen(row, position)


def ends(spec: ModelSpec, layer: int, place: int) -> TokenEnds:
    rows = WeightRows(spec)
    scores = rows.unembed(slice(0, spec.n_vocab)) @ rows.out(layer, place)
    order = np.argsort(-scores, kind="stable")
    top, bottom = (tuple(TokenScore(int(i), float(scores[i])) for i in part) for part in (order[:10], order[::-1][:10]))
    return TokenEnds(top, bottom)

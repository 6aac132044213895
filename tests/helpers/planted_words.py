"""A made-up neuron whose meaning in each sign case is known: a word, and only after a certain other one."""

from __future__ import annotations

import numpy as np
from gluscope.core.activation import act
from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.neuron import NeuronId
from gluscope.explain.examples import CaseExamples, Split, examples_of
from gluscope.recompute.types import Recomputed
from gluscope.summary.types import LayerSummary

RIGHT = dict(zip(CASES, (" red apple", " deep river", " cold stone", " dark cloud"), strict=True))
BROAD = {case: f" {words.split()[1]}" for case, words in RIGHT.items()}  # without the word before
_OTHERS = " and of to in that it was for on with as by at from or an were are which this".replace(" ", "\0 ").split(
    "\0"
)[1:]
WORDS = ["<s>", *_OTHERS, *(f" {word}" for words in RIGHT.values() for word in words.split())]
NEURON, K = NeuronId(2, 5), 16


def shown(ids: np.ndarray) -> list[str]:
    return [WORDS[number] for number in ids]


def planted(seed: int, extra: dict[int, str] | None = None) -> dict[SignCase, CaseExamples]:
    """Its examples. extra: texts that take the place of words in `WORDS`, by number."""
    random = np.random.default_rng(seed)
    number = {word: at for at, word in enumerate(WORDS)}
    rows, texts, gates, ins = [], [], [], []
    for row in range(160):
        ids = random.integers(1, 1 + len(_OTHERS), 60)
        gate, in_ = random.choice([-1.0, 1.0], (2, 60)) * random.uniform(0.05, 0.4, (2, 60))
        case = CASES[row % 4]
        before, word = (number[f" {word}"] for word in RIGHT[case].split())
        at = int(random.integers(8, 50))
        ids[at - 1 : at + 1] = before, word
        gate[at], in_[at] = case.gate_sign * random.uniform(2.0, 3.0), case.in_sign * random.uniform(4, 8)
        alone = int(random.choice([at - 6, at + 6]))  # the word without the other before it: another case, and weak
        ids[alone], gate[alone], in_[alone] = word, 0.1 * case.gate_sign, -0.1 * case.in_sign
        rows.append(row)
        texts.append(ids)
        gates.append(gate)
        ins.append(in_)
    gate, in_ = (np.concatenate(parts).astype(np.float32) for parts in (gates, ins))
    lengths = np.full(len(rows), 60)
    found = Recomputed(NEURON.layer, NEURON.neuron, np.array(rows), lengths, gate, in_, "model", "float32", 1.0, 1.0)
    split = Split(before=5, after=4)
    return examples_of(_lists(gate, in_), found, texts.__getitem__, act("silu"), split)


def _lists(gate: np.ndarray, in_: np.ndarray) -> LayerSummary:
    """What a scan would list."""
    summary, post = LayerSummary.empty(1, K), (act("silu")(gate) * in_).reshape(-1, 60)
    for case in CASES:
        inside = ((np.sign(gate) == case.gate_sign) & (np.sign(in_) == case.in_sign)).reshape(-1, 60)
        size = np.where(inside, np.abs(post), 0)
        rows = np.argsort(-size.max(1), kind="stable")[:K]
        at = (0, case.index, Quantity.POST.index)
        summary.extreme_example[at], summary.extreme_position[at] = rows, size[rows].argmax(1)
        summary.extreme_value[at] = post[rows, size[rows].argmax(1)]
    return summary

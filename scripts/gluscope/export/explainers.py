"""Examples of each sign case for programs that explain neurons in words and score such words: no language model here.

    examples.jsonl   a window a line
    delphi.jsonl     a case of a neuron a line: a `LatentRecord` of EleutherAI's delphi

`explain.examples` says which windows these are, and what their groups mean. A value is |post| inside the case and 0
outside: such programs take values to be at least 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gluscope.core.cases import Quantity, SignCase
from gluscope.core.neuron import NeuronId
from gluscope.explain.examples import CaseExamples, Window
from gluscope.page.tokens import TokenKind, TokenTexts
from gluscope.store.atomic import new_folder
from gluscope.store.listing import write_listing

EXAMPLES, DELPHI = "examples.jsonl", "delphi.jsonl"
ACTIVE = ("train", "test", "just_under")  # groups whose windows have a token of the case that counts
_BYTES = re.compile("⟨[0-9A-F ]+⟩")  # of an unfinished character, as pages show them
_STEPS = 10  # to which delphi rounds activations, upwards
_RANDOM, _NEIGHBOUR = -1.0, 0.0  # delphi's distance of negatives drawn at random, and of those near the neuron's own


@dataclass(frozen=True)
class ExplainedNeuron:
    """A neuron's examples by case. frequency: share of all tokens, 0 where there are none. words: what somebody says
    of it, by case, in the convention of the cases."""

    id: NeuronId
    cases: Mapping[SignCase, CaseExamples]
    frequency: Mapping[SignCase, float]
    words: Mapping[SignCase, str]


def write_explainers(
    folder: str | Path, neurons: Iterable[ExplainedNeuron], texts: Callable[[list[int]], list[str]]
) -> int:
    """Write `folder` anew, whole or not at all; returns the number of windows. texts: the tokens with these ids.

    Cases without examples have no line. Memory: one neuron.
    """
    count = 0
    with new_folder(folder) as part:
        with open(part / EXAMPLES, "wb") as plain, open(part / DELPHI, "wb") as delphi:
            for neuron in neurons:
                for case, found in neuron.cases.items():
                    if found.train:
                        lines = [_line(one) for one in windows(neuron, case, texts)]
                        plain.writelines(lines)
                        delphi.write(_line(latent_record(neuron, case, texts)))
                        count += len(lines)
        write_listing(part)
    return count


def windows(
    neuron: ExplainedNeuron, case: SignCase, texts: Callable[[list[int]], list[str]]
) -> Iterator[dict[str, Any]]:
    """Lines of examples.jsonl."""
    own = {"layer": neuron.id.layer, **({"expert": neuron.id.expert} if neuron.id.expert else {})}
    own |= {"neuron": neuron.id.neuron, "case": case.value, "post_sign": case.sign(Quantity.POST)}
    for group, found in neuron.cases[case].groups.items():
        for window in found:
            yield {
                **own,
                "group": group,
                "active": group in ACTIVE,
                "row": window.row,
                "begin": window.begin,
                "at": window.at,
                "peak": window.peak,
                "ids": window.ids.tolist(),
                "tokens": _storable(texts(window.ids.tolist())),
                "values": _values(window),
            }


def latent_record(neuron: ExplainedNeuron, case: SignCase, texts: Callable[[list[int]], list[str]]) -> dict[str, Any]:
    """A line of delphi.jsonl: the fields of its `LatentRecord` and of what that holds, tensors as lists."""
    found = neuron.cases[case]
    ranked = sorted([*found.train, *found.test], key=lambda window: -window.peak)
    top = ranked[0].peak

    def active(window: Window) -> dict[str, Any]:
        steps = np.clip(np.ceil(np.abs(window.post) * _STEPS / top), 0, _STEPS)
        return {**_example(window, texts), "normalized_activations": steps.tolist(), "quantile": 0}

    def inactive(window: Window, distance: float) -> dict[str, Any]:
        return {**_example(window, texts), "distance": distance}

    return {
        "latent": {"module_name": module_name(neuron.id, case), "latent_index": neuron.id.neuron},
        "examples": [active(window) for window in ranked],
        "train": [active(window) for window in found.train],
        "test": [active(window) for window in found.test],
        "not_active": [
            *(inactive(window, _NEIGHBOUR) for window in found.other_case),
            *(inactive(window, _RANDOM) for window in found.inactive),
        ],
        "extra_examples": [active(window) for window in found.just_under],
        "explanation": neuron.words.get(case, ""),
        "per_token_frequency": neuron.frequency[case],
    }


def read_as_text(texts: TokenTexts) -> Callable[[list[int]], list[str]]:
    """Tokens as they read one after another: where several are one character, the last of them has it."""

    def read(ids: list[int]) -> list[str]:
        return [
            _BYTES.sub("", token.text) if token.kind is TokenKind.BYTES else token.text for token in texts.tokens(ids)
        ]

    return read


def module_name(neuron: NeuronId, case: SignCase) -> str:
    """A name for a case of a layer's MLP that can stand in the name of a file: layers.5.mlp.gate-pos-in-neg."""
    signs = ("pos" if sign > 0 else "neg" for sign in (case.gate_sign, case.in_sign))
    expert = f".{neuron.expert}" if neuron.expert else ""
    return "layers.{}.mlp{}.gate-{}-in-{}".format(neuron.layer, expert, *signs)


def _example(window: Window, texts: Callable[[list[int]], list[str]]) -> dict[str, Any]:
    ids = window.ids.tolist()
    return {"tokens": ids, "activations": _values(window), "str_tokens": _storable(texts(ids))}


def _values(window: Window) -> list[float]:
    return [float(value) for value in np.abs(window.post)]


def _storable(texts: list[str]) -> list[str]:
    """Without halves of characters, which UTF-8 cannot hold."""
    return [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]


def _line(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode()
